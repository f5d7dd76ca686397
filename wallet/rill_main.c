/* rill: the command line of wallets, merchants and operators. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/process.h"
#include "base/version.h"
#include "wallet/command.h"

static const struct {
    const char *first, *second; /* second NULL: one word */
    command_function *run;
    const char *help;
} commands[] = {
    {"init", NULL, command_init, "make a wallet"},
    {"deposit", NULL, command_deposit, "put money into your channel"},
    {"open", NULL, command_open, "ask the hub for room to receive"},
    {"balance", NULL, command_balance, "what is yours, what you can pay and receive"},
    {"invoice", NULL, command_invoice, "ask for a payment"},
    {"pay", NULL, command_pay, "pay an invoice, get the receipt"},
    {"fetch", NULL, command_fetch, "fetch a URL that has a price, and pay it"},
    {"listen", NULL, command_listen, "a merchant's terminal: print payments as they come"},
    {"history", NULL, command_history, "past payments"},
    {"withdraw", NULL, command_withdraw, "have money paid out on the ledger"},
    {"close", NULL, command_close, "close your channel together with the hub"},
    {"dispute", NULL, command_dispute, "close it without the hub"},
    {"recover", NULL, command_recover, "fill a wallet again that lost its folder"},
    {"prove", NULL, command_prove, "show that a payment is in the hub's settled books"},
    {"audit", NULL, command_audit, "check what the hub says it owes, and that it has it"},
    {"tower", "add", command_tower_add, "appoint a watchtower"},
    {"tower", "remove", command_tower_remove, "appoint one no more"},
    {"tower", "list", command_tower_list, "your watchtowers, as they are set"},
    {"tower", "status", command_tower_status, "whether they are there, and what they have signed for"},
    {"tower", "prove", command_tower_prove, "print what a watchtower has signed for, as evidence"},
    {"tower", "verify", command_tower_verify, "hold such evidence against the ledger"},
    {"merchant", "webhooks", command_merchant_webhooks, "a shop's web hooks: list, dead letters, tell again"},
    {"hub", "status", command_hub_status, "how the hub on this machine is"},
    {"hub", "history", command_hub_history, "a client's past payments, from the hub on this machine"},
    {"hub", "close", command_hub_close, "close a channel whose client does not come back"},
    {"hub", "tower-prove", command_hub_tower_prove, "print what the hub's watchtowers have signed for"},
    {"hub", "settlements", command_hub_settlements, "what each settled batch moved and cost"},
    {"ledger", "deploy", command_ledger_deploy, "put the hub's contract on an EVM chain"},
    {"ledger", "issue", command_ledger_issue, "create an asset"},
    {"ledger", "list", command_ledger_list, "let the hub deal in an asset"},
    {"ledger", "pool", command_ledger_pool, "the hub's collateral: show, deposit, withdraw"},
    {"ledger", "balance", command_ledger_balance, "what an address holds on the ledger"},
    {"ledger", "send", command_ledger_send, "send coins or tokens on the ledger"},
};

static void print_help(FILE *out)
{
    fprintf(out, "Usage: rill COMMAND [OPTIONS]\n\n"
                 "Pays and is paid through a Rill hub. `rill COMMAND --help` explains each:\n\n");
    for (size_t i = 0; i < ARRAY_LENGTH(commands); i++) {
        char name[32];
        snprintf(name, sizeof(name), "%s%s%s", commands[i].first, commands[i].second != NULL ? " " : "",
                 commands[i].second != NULL ? commands[i].second : "");
        fprintf(out, "  %-18s %s\n", name, commands[i].help);
    }
    fprintf(
        out,
        "\nA first day: rill init, rill deposit 20, rill pay INVOICE; a merchant: rill init, rill open 500,\n"
        "rill listen. The wallet lives in ~/.rill or $RILL_HOME; every flag has a variable (RILL_HUB for\n"
        "--hub) and a line in the wallet's config file.\n\n"
        "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 hub or ledger not reached,\n"
        "4 keystore or passphrase, 5 the wallet's folder is in use, 6 outcome not known in time,\n"
        "7 what the hub says was checked, and is not so, 8 a limit forbids the price (rill fetch).\n");
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

int main(int argc, char **argv)
{
    process_keeps_secrets();
    log_setup("rill", LOG_WARN, false);
    if (argc < 2) {
        print_help(stderr);
        return RILL_EXIT_USAGE;
    }
    if (is_help(argv[1])) {
        print_help(stdout);
        return RILL_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("rill %s\n", RILL_VERSION);
        return RILL_EXIT_OK;
    }
    bool group = false;
    for (size_t i = 0; i < ARRAY_LENGTH(commands); i++) {
        if (strcmp(argv[1], commands[i].first) != 0)
            continue;
        if (commands[i].second == NULL)
            return commands[i].run(argc - 1, argv + 1);
        group = true;
        if (argc > 2 && strcmp(argv[2], commands[i].second) == 0)
            return commands[i].run(argc - 2, argv + 2);
    }
    if (group) {
        fprintf(stderr, "rill: `rill %s` goes on with:", argv[1]);
        for (size_t i = 0; i < ARRAY_LENGTH(commands); i++)
            if (strcmp(argv[1], commands[i].first) == 0)
                fprintf(stderr, " %s", commands[i].second);
        fprintf(stderr, "\n");
        return argc > 2 && is_help(argv[2]) ? RILL_EXIT_OK : RILL_EXIT_USAGE;
    }
    fprintf(stderr, "rill: no command '%s'; `rill --help` lists them\n", argv[1]);
    return RILL_EXIT_USAGE;
}
