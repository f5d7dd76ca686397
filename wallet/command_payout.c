/* --payout of `rill listen` and `rill withdraw`: when the wallet asks to be paid out by itself. */
#include <stdio.h>
#include <string.h>

#include "wallet/command.h"

static const char *mode_name(enum rill_payout_mode mode)
{
    switch (mode) {
    case RILL_PAYOUT_MANUAL:
        return "manual";
    case RILL_PAYOUT_THRESHOLD:
        return "threshold";
    case RILL_PAYOUT_DAILY:
        return "daily";
    }
    return "?";
}

static bool minute_parse(const char *text, uint16_t *minute)
{
    unsigned hours, minutes;
    char rest;
    /* NOLINTNEXTLINE(cert-err34-c): two digits cannot overflow */
    if (strlen(text) != 5 || sscanf(text, "%2u:%2u%c", &hours, &minutes, &rest) != 2 || hours > 23 ||
        minutes > 59)
        return false;
    *minute = (uint16_t)(hours * 60 + minutes);
    return true;
}

int command_payout_set(struct session *session, const struct asset_info *asset,
                       const struct payout_flags *flags)
{
    struct rill_payout_policy policy = {.mode = strcmp(flags->mode, "daily") == 0 ? RILL_PAYOUT_DAILY
                                                : strcmp(flags->mode, "threshold") == 0
                                                    ? RILL_PAYOUT_THRESHOLD
                                                    : RILL_PAYOUT_MANUAL};
    if (strcmp(flags->mode, "as-is") == 0) {
        if (flags->threshold != NULL || flags->keep != NULL)
            return command_fail(session->settings, RILL_EXIT_USAGE,
                                "--payout-threshold and --payout-keep need --payout threshold or daily");
        return RILL_EXIT_OK;
    }
    if (!minute_parse(flags->at, &policy.minute))
        return command_fail(session->settings, RILL_EXIT_USAGE,
                            "--payout-at '%s' is no time of day: HH:MM, 00:00 to 23:59", flags->at);
    if (policy.mode == RILL_PAYOUT_THRESHOLD && flags->threshold == NULL)
        return command_fail(session->settings, RILL_EXIT_USAGE,
                            "--payout threshold needs --payout-threshold AMOUNT");
    if ((flags->threshold != NULL && !asset_parse(session, asset, flags->threshold, &policy.threshold)) ||
        (flags->keep != NULL && !asset_parse(session, asset, flags->keep, &policy.keep)))
        return RILL_EXIT_USAGE;
    if (rill_set_payout_policy(session->wallet, asset->address, &policy) != 0)
        return command_fail(session->settings, RILL_EXIT_USAGE, "%s", rill_refusal(session->wallet));
    return RILL_EXIT_OK;
}

const char *command_payout_text(const struct session *session, const struct asset_info *asset,
                                char out[PAYOUT_TEXT_MAX])
{
    struct rill_payout_policy policy = rill_payout_policy(session->wallet, asset->address);
    char threshold[ASSET_AMOUNT_TEXT], keep[ASSET_AMOUNT_TEXT];
    asset_amount(asset, policy.threshold, threshold);
    asset_amount(asset, policy.keep, keep);
    int length = 0;
    if (policy.mode == RILL_PAYOUT_MANUAL)
        snprintf(out, PAYOUT_TEXT_MAX, "only when asked for");
    else if (policy.mode == RILL_PAYOUT_THRESHOLD)
        length = snprintf(out, PAYOUT_TEXT_MAX, "as soon as %s can be paid out", threshold);
    else
        length = snprintf(out, PAYOUT_TEXT_MAX, "daily at %02u:%02u UTC%s%s", policy.minute / 60u,
                          policy.minute % 60u, policy.threshold > 0 ? ", from " : "",
                          policy.threshold > 0 ? threshold : "");
    if (policy.mode != RILL_PAYOUT_MANUAL && policy.keep > 0)
        snprintf(out + length, (size_t)(PAYOUT_TEXT_MAX - length), ", all but %s", keep);
    return out;
}

json_t *command_payout_json(const struct session *session, const struct asset_info *asset)
{
    struct rill_payout_policy policy = rill_payout_policy(session->wallet, asset->address);
    return json_pack("{s:s, s:o, s:o, s:i}", "mode", mode_name(policy.mode), "threshold",
                     json_amount(session, asset->address, policy.threshold), "keep",
                     json_amount(session, asset->address, policy.keep), "minute_utc", (int)policy.minute);
}
