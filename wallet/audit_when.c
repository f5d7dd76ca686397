/* rill audit: of which moment is a statement? The hub names the block that it counts by; whether the ledger has that block,
 * when it was made and how long ago that is, the ledger says. */
#include <stdio.h>

#include "base/ensure.h"
#include "ledger/quantity.h"
#include "wallet/audit.h"
#include "wallet/ledger_read.h"

#define OLD_S   3600
#define LOOK_MS 500

/* The line is in session->text if not. */
static bool time_of_block(struct session *session, uint64_t block, uint64_t *out)
{
    char number[24];
    snprintf(number, sizeof(number), "0x%llx", (unsigned long long)block);
    json_t *answer = ledger_read_json(session, "eth_getBlockByNumber", json_pack("[s, b]", number, false));
    bool good = quantity_u64(json_object_get(answer, "timestamp"), out);
    if (answer != NULL && !good)
        snprintf(session->text, sizeof(session->text), "the ledger at %s does not show block %llu",
                 session->settings->ledger, (unsigned long long)block);
    json_decref(answer);
    return good;
}

static bool never(struct session *session)
{
    (void)session;
    return false;
}

/* Waits until the ledger has the block, at most --timeout-s: the own node may be a little late. */
static int come_to_block(struct session *session, uint64_t block, uint64_t *head)
{
    const struct settings *settings = session->settings;
    for (uint64_t waited_ms = 0;; waited_ms += LOOK_MS) {
        if (!ledger_read_head(session, head))
            return command_fail(settings, RILL_EXIT_UNREACHABLE, "%s", session->text);
        if (*head >= block)
            return RILL_EXIT_OK;
        if (session->interrupted || waited_ms >= settings->timeout_s * 1000)
            return command_fail(
                settings, RILL_EXIT_FAILED,
                "the hub counts as of block %llu, and the ledger at %s has none after %llu: the node is "
                "behind, or the hub counts by a block that does not exist; ask another node",
                (unsigned long long)block, settings->ledger, (unsigned long long)*head);
        (void)session_wait(session, never, LOOK_MS, "the statement's block");
    }
}

int audit_when(struct audit *audit)
{
    struct session *session = audit->session;
    const struct settings *settings = session->settings;
    const struct liabilities *content = &audit->statement.content;
    uint64_t head, made, confirmed, now;
    int code = come_to_block(session, content->block, &head);
    if (code != RILL_EXIT_OK)
        return code;
    uint64_t deep = head - content->block;
    /* On a ledger where blocks are rare, the newest confirmed one may be old through nobody's fault. */
    uint64_t confirming = deep > settings->confirmations ? content->block + settings->confirmations : head;
    if (!time_of_block(session, content->block, &made) || !time_of_block(session, confirming, &confirmed) ||
        !time_of_block(session, head, &now))
        return command_fail(settings, RILL_EXIT_UNREACHABLE, "%s", session->text);
    audit->behind_s = now > confirmed ? now - confirmed : 0;
    if (made == content->time)
        return RILL_EXIT_OK;
    if (deep < settings->confirmations)
        return command_fail(
            settings, RILL_EXIT_PENDING,
            "the hub counts as of block %llu, of which the ledger at %s has another one, only "
            "%llu deep: try again later",
            (unsigned long long)content->block, settings->ledger, (unsigned long long)deep);
    return command_fail(
        settings, RILL_EXIT_UNTRUE,
        "THE HUB LIES: its statement %llu counts as of block %llu and gives it the time %llu; the "
        "ledger at %s has %llu for it",
        (unsigned long long)content->number, (unsigned long long)content->block,
        (unsigned long long)content->time, settings->ledger, (unsigned long long)made);
}

bool audit_is_old(const struct audit *audit)
{
    return audit->behind_s > OLD_S;
}
