/* rill hub settlements: what each batch touched, moved and cost. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "ledger/quantity.h"
#include "wallet/base_units.h"
#include "wallet/hub_http.h"

#define COIN_DECIMALS 18
#define RATIO_TEXT    32

/* One batch of the hub's answer. */
struct row {
    uint64_t batch, block, time, touched, gross, net, gas, gas_price, leaves;
    const char *transaction, *root;
};

static struct row row_of(const json_t *report)
{
    return (struct row){
        .batch = json_number_at(report, "batch"),
        .block = json_number_at(report, "block"),
        .time = json_number_at(report, "time"),
        .touched = json_number_at(report, "channels"),
        .gross = json_number_at(report, "gross"),
        .net = json_number_at(report, "net_moved"),
        .gas = json_number_at(report, "gas"),
        .gas_price = json_number_at(report, "gas_price"),
        .leaves = json_number_at(report, "proofs"),
        .transaction = json_text_at(report, "transaction"),
        .root = json_text_at(report, "journal_root"),
    };
}

/* How many times over the volume was netted: "12.3"; "-" where nothing moved. */
static const char *ratio_text(uint64_t gross, uint64_t net, char out[RATIO_TEXT])
{
    if (net == 0)
        snprintf(out, RATIO_TEXT, "-");
    else
        snprintf(out, RATIO_TEXT, "%.1f", (double)gross / (double)net);
    return out;
}

/* Coins; "-" where the cost is not known (yet). */
static const char *fee_text(const struct row *row, char out[BASE_UNITS_TEXT_SIZE])
{
    if (row->gas == 0)
        snprintf(out, BASE_UNITS_TEXT_SIZE, "-");
    else
        base_units_text((unsigned_wide)row->gas * row->gas_price, COIN_DECIMALS, out);
    return out;
}

static void print_table(const json_t *reports)
{
    char when[32], ratio[RATIO_TEXT], fee[BASE_UNITS_TEXT_SIZE];
    struct row sum = {.batch = 0};
    size_t count = json_array_size(reports);
    if (count == 0) {
        printf("no batch has been settled yet\n");
        return;
    }
    printf("%6s  %-19s %8s %16s %16s %9s %10s %12s  %s\n", "batch", "settled", "channels", "gross",
           "net moved", "gross:net", "gas", "gas/channel", "fee (coins)");
    for (size_t i = 0; i < count; i++) {
        struct row row = row_of(json_array_get(reports, i));
        printf("%6" PRIu64 "  %-19s %8" PRIu64 " %16" PRIu64 " %16" PRIu64 " %9s %10" PRIu64 " %12" PRIu64
               "  %s\n",
               row.batch, time_text(row.time, when), row.touched, row.gross, row.net,
               ratio_text(row.gross, row.net, ratio), row.gas, row.touched == 0 ? 0 : row.gas / row.touched,
               fee_text(&row, fee));
        sum.touched += row.touched;
        sum.gross += row.gross;
        sum.net += row.net;
        sum.gas += row.gas;
    }
    printf("%6s  %-19s %8" PRIu64 " %16" PRIu64 " %16" PRIu64 " %9s %10" PRIu64 " %12" PRIu64 "\n", "all", "",
           sum.touched, sum.gross, sum.net, ratio_text(sum.gross, sum.net, ratio), sum.gas,
           sum.touched == 0 ? 0 : sum.gas / sum.touched);
    printf("Amounts are units, of all assets together; gross is what was paid since the batch before.\n");
}

static void print_csv(const json_t *reports)
{
    char ratio[RATIO_TEXT], fee[BASE_UNITS_TEXT_SIZE];
    printf("batch,time,block,channels,gross,net_moved,gross_to_net,gas,gas_per_channel,fee_coins,proofs,"
           "transaction,journal_root\n");
    for (size_t i = 0; i < json_array_size(reports); i++) {
        struct row row = row_of(json_array_get(reports, i));
        command_say(stdout,
                    "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%s,%" PRIu64
                    ",%" PRIu64 ",%s,%" PRIu64 ",%s,%s",
                    row.batch, row.time, row.block, row.touched, row.gross, row.net,
                    ratio_text(row.gross, row.net, ratio), row.gas,
                    row.touched == 0 ? 0 : row.gas / row.touched, fee_text(&row, fee), row.leaves,
                    row.transaction, row.root);
    }
}

int command_hub_settlements(int argc, char **argv)
{
    const char *http = NULL;
    bool csv = false;
    struct command_line line = {
        .name = "hub settlements",
        .usage = "[OPTIONS]",
        .about = "For the operator: what each settled batch touched, moved and cost, oldest first, from the "
                 "hub on this\n"
                 "machine. Gross is the volume paid since the batch before, net what the batch itself moved "
                 "(paid out and\n"
                 "put into channels), so gross:net says how much the netting saved. A fee that is shown as - "
                 "was hidden by a\n"
                 "restart: the hub asks the ledger for it, and the next call shows it.\n"
                 "Example: rill hub settlements --csv >settlements.csv\n"
                 "Exit codes: 0 shown, 1 the hub refuses, 2 wrong usage, 3 not reached.",
        .rows =
            (const struct option_row[]){
                {"http", OPTION_TEXT, &http, "127.0.0.1:9745", 0, 0, "HOST:PORT", "The hub's --http."},
                {"csv", OPTION_FLAG, &csv, "false", 0, 0, NULL,
                 "Comma-separated values, with a line of names."},
            },
        .row_count = 2,
    };
    int code;
    json_t *reports;
    if (!command_read(&line, argc, argv, &code))
        return code;
    const struct settings *settings = &line.settings;
    if (csv && settings->json)
        return command_fail(settings, RILL_EXIT_USAGE, "--csv and --json: choose one");
    code = hub_http_check(settings, "http", http);
    if (code == RILL_EXIT_OK)
        code = hub_http_json(settings, http, "/settlements", false, &reports);
    if (code != RILL_EXIT_OK)
        return code;
    if (settings->json) {
        command_print_json(json_pack("{s:o}", "batches", reports));
        return RILL_EXIT_OK;
    }
    if (csv)
        print_csv(reports);
    else
        print_table(reports);
    json_decref(reports);
    return RILL_EXIT_OK;
}
