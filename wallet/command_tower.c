/* rill tower …: which watchtowers the wallet appoints, what they have signed for, and whether they kept it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/endpoint.h"
#include "base/ensure.h"
#include "ledger/evidence.h"
#include "ledger/quantity.h"
#include "wallet/command.h"
#include "wallet/ledger_read.h"
#include "wallet/shell.h"

#define CONFIG_BYTES_MAX   (64 * 1024)
#define EVIDENCE_BYTES_MAX (64 * 1024)

/* ---- the list, as it is set ---- */

struct tower_entry {
    struct address address;
    char host[HOST_BYTES_MAX + 1];
    uint16_t port;
};
struct tower_set {
    struct tower_entry entries[RILL_TOWERS_MAX];
    size_t count;
};

static bool entry_read(const char *text, size_t length, struct tower_entry *out)
{
    char copy[HOST_BYTES_MAX + 64];
    const char *at = memchr(text, '@', length);
    if (at == NULL || length >= sizeof(copy))
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    copy[at - text] = '\0';
    return hex_decode(copy, out->address.bytes, 20) &&
           endpoint_split(copy + (at - text) + 1, out->host, &out->port);
}

/* False if the text (NULL: none) is not what --towers takes. */
static bool set_read(const char *text, struct tower_set *out)
{
    out->count = 0;
    while (text != NULL && *text != '\0') {
        size_t length = strcspn(text, ",");
        if (length > 0 &&
            (out->count == RILL_TOWERS_MAX || !entry_read(text, length, &out->entries[out->count])))
            return false;
        out->count += length > 0;
        text += length + (text[length] == ',');
    }
    return true;
}

static const char *entry_text(const struct tower_entry *entry, char out[HOST_BYTES_MAX + 64])
{
    char address[ADDRESS_TEXT_SIZE];
    bool is_six = strchr(entry->host, ':') != NULL; /* IPv6 goes in brackets */
    snprintf(out, HOST_BYTES_MAX + 64, "%s@%s%s%s:%u", address_text(&entry->address, address),
             is_six ? "[" : "", entry->host, is_six ? "]" : "", entry->port);
    return out;
}

static int set_needed(const struct settings *settings, struct tower_set *out)
{
    if (!set_read(settings->towers, out))
        return command_fail(settings, RILL_EXIT_USAGE,
                            "--towers wants ADDRESS@HOST:PORT, separated by commas, at most %d",
                            RILL_TOWERS_MAX);
    if (out->count == 0)
        return command_fail(settings, RILL_EXIT_USAGE,
                            "no towers are set: `rill tower add ADDRESS@HOST:PORT`, or --towers");
    return RILL_EXIT_OK;
}

static json_t *entry_json(const struct tower_entry *entry)
{
    return json_pack("{s:o, s:s, s:i}", "address", json_address(entry->address.bytes), "host", entry->host,
                     "port", (int)entry->port);
}

int command_tower_list(int argc, char **argv)
{
    struct command_line line = {
        .name = "tower list",
        .usage = "[OPTIONS]",
        .about = "Shows the wallet's watchtowers as they are set; `rill tower status` asks them.\n"
                 "Example: rill tower list\n"
                 "Exit codes: 0 shown, 2 none are set, or --towers is malformed.",
    };
    int code;
    struct tower_set set;
    if (!command_read(&line, argc, argv, &code))
        return code;
    code = set_needed(&line.settings, &set);
    if (code != RILL_EXIT_OK)
        return code;
    json_t *list = json_array();
    for (size_t i = 0; i < set.count; i++) {
        char text[HOST_BYTES_MAX + 64];
        json_array_append_new(list, entry_json(&set.entries[i]));
        if (!line.settings.json)
            printf("%s\n", entry_text(&set.entries[i], text));
    }
    if (line.settings.json)
        command_print_json(json_pack("{s:O}", "towers", list));
    json_decref(list);
    return RILL_EXIT_OK;
}

/* ---- changing it: the line `towers` of the wallet's config file ---- */

/* The value that a line of the file gives to `towers`; NULL: it is another line. */
static const char *towers_of_line(const char *line)
{
    line += strspn(line, " \t");
    if (strncmp(line, "towers", 6) != 0)
        return NULL;
    line += 6 + strspn(line + 6, " \t");
    return *line == '=' ? line + 1 + strspn(line + 1, " \t") : NULL;
}

/* The file's text, to be freed; NULL after a line on stderr. */
static char *config_read(const struct settings *settings, const char *path)
{
    FILE *file = fopen(path, "re");
    char *text = xcalloc(1, CONFIG_BYTES_MAX + 1);
    size_t length = file == NULL ? 0 : fread(text, 1, CONFIG_BYTES_MAX + 1, file);
    if (file != NULL)
        fclose(file);
    if (file != NULL && length <= CONFIG_BYTES_MAX)
        return text;
    command_fail(settings, RILL_EXIT_FAILED, "cannot read %s: make the wallet first (`rill init`)", path);
    free(text);
    return NULL;
}

static void config_towers(const char *text, char *out, size_t size)
{
    out[0] = '\0';
    for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + (strchr(line, '\n') != NULL)) {
        const char *value = towers_of_line(line);
        if (value != NULL)
            snprintf(out, size, "%.*s", (int)strcspn(value, " \t\r\n#"), value);
    }
}

/* Writes the file with this set in it, whole or not at all. */
static int config_write(const struct settings *settings, const char *path, const char *text,
                        const struct tower_set *set)
{
    char temporary[1300], entry[HOST_BYTES_MAX + 64];
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    FILE *file = fopen(temporary, "we");
    for (const char *line = text; file != NULL && *line != '\0';) {
        size_t length = strcspn(line, "\n") + (strchr(line, '\n') != NULL);
        if (towers_of_line(line) == NULL)
            fprintf(file, "%.*s%s", (int)length, line, line[length - 1] == '\n' ? "" : "\n");
        line += length;
    }
    for (size_t i = 0; file != NULL && i < set->count; i++)
        fprintf(file, "%s%s%s", i == 0 ? "towers = " : ",", entry_text(&set->entries[i], entry),
                i + 1 == set->count ? "\n" : "");
    if (command_replace(file, true, temporary, path))
        return RILL_EXIT_OK;
    return command_fail(settings, RILL_EXIT_FAILED, "cannot write %s: %s", path, strerror(errno));
}

static int say_set(const struct settings *settings, const struct tower_set *set)
{
    if (settings->json) {
        json_t *list = json_array();
        for (size_t i = 0; i < set->count; i++)
            json_array_append_new(list, entry_json(&set->entries[i]));
        command_print_json(json_pack("{s:o}", "towers", list));
    } else {
        printf("%zu watchtower%s set; a running `rill listen` takes it up when it is started again\n",
               set->count, set->count == 1 ? "" : "s");
    }
    return RILL_EXIT_OK;
}

static int change_set(struct command_line *line,
                      int (*change)(const struct command_line *line, struct tower_set *set))
{
    char path[1200], towers[RILL_TOWERS_MAX * (HOST_BYTES_MAX + 64)];
    struct tower_set set;
    command_path(&line->settings, "config", path, sizeof(path));
    char *text = config_read(&line->settings, path);
    if (text == NULL)
        return RILL_EXIT_FAILED;
    config_towers(text, towers, sizeof(towers));
    int code = RILL_EXIT_OK;
    if (!set_read(towers, &set))
        code = command_fail(&line->settings, RILL_EXIT_USAGE, "the line `towers` of %s is malformed", path);
    if (code == RILL_EXIT_OK)
        code = change(line, &set);
    if (code == RILL_EXIT_OK)
        code = config_write(&line->settings, path, text, &set);
    free(text);
    return code == RILL_EXIT_OK ? say_set(&line->settings, &set) : code;
}

static size_t set_find(const struct tower_set *set, const struct address *address)
{
    size_t at = 0;
    while (at < set->count && !address_equal(&set->entries[at].address, address))
        at++;
    return at;
}

static int add(const struct command_line *line, struct tower_set *set)
{
    struct tower_entry entry;
    if (!entry_read(line->words[0], strlen(line->words[0]), &entry))
        return command_fail(&line->settings, RILL_EXIT_USAGE,
                            "'%.80s' is not ADDRESS@HOST:PORT: rill-towerd prints both at start",
                            line->words[0]);
    size_t at = set_find(set, &entry.address);
    if (at == RILL_TOWERS_MAX)
        return command_fail(&line->settings, RILL_EXIT_FAILED, "%d towers are set already: remove one first",
                            RILL_TOWERS_MAX);
    set->entries[at] = entry; /* one that has moved is where it is now */
    set->count += at == set->count;
    return RILL_EXIT_OK;
}

int command_tower_add(int argc, char **argv)
{
    struct command_line line = {
        .name = "tower add",
        .usage = "ADDRESS@HOST:PORT [OPTIONS]",
        .about =
            "Appoints a watchtower (at most four): from the next connection on it gets the hub's newest "
            "proof of each channel,\n"
            "and answers a false close. Changes the wallet's config file. A tower that is set already is "
            "moved.\n"
            "Example: rill tower add 0x5f…@tower.example:9736\n"
            "Exit codes: 0 set, 1 no wallet here, or four are set, 2 wrong usage.",
        .words_min = 1,
        .words_max = 1,
    };
    int code;
    return command_read(&line, argc, argv, &code) ? change_set(&line, add) : code;
}

static int take_away(const struct command_line *line, struct tower_set *set)
{
    struct address address;
    if (!hex_decode(line->words[0], address.bytes, 20))
        return command_fail(&line->settings, RILL_EXIT_USAGE,
                            "'%.80s' is not an address: see `rill tower list`", line->words[0]);
    size_t at = set_find(set, &address);
    if (at == set->count)
        return command_fail(&line->settings, RILL_EXIT_FAILED, "no such tower is set: see `rill tower list`");
    memmove(&set->entries[at], &set->entries[at + 1], (--set->count - at) * sizeof(set->entries[0]));
    return RILL_EXIT_OK;
}

int command_tower_remove(int argc, char **argv)
{
    struct command_line line = {
        .name = "tower remove",
        .usage = "ADDRESS [OPTIONS]",
        .about =
            "Appoints a watchtower no more. What it holds it may still use; nothing newer comes to it, and "
            "nothing waits for it.\n"
            "Example: rill tower remove 0x5f…\n"
            "Exit codes: 0 removed, 1 it was not set, 2 wrong usage.",
        .words_min = 1,
        .words_max = 1,
    };
    int code;
    return command_read(&line, argc, argv, &code) ? change_set(&line, take_away) : code;
}

/* ---- how they are ---- */

static bool towers_connected(struct session *session)
{
    const struct tower_set *set = session->context;
    for (size_t i = 0; i < set->count; i++)
        if (!rill_tower_is_connected(session->wallet, i))
            return false;
    return true;
}

static bool receipts_given(struct session *session)
{
    const struct tower_set *set = session->context;
    struct rill_balance balance;
    for (size_t c = 0; rill_balance_at(session->wallet, c, &balance); c++)
        for (size_t i = 0; i < set->count; i++)
            if (balance.stage == RILL_OPEN && rill_tower_is_connected(session->wallet, i) &&
                rill_tower_receipt(session->wallet, i, balance.channel) <
                    rill_tower_owed(session->wallet, balance.channel))
                return false;
    return true;
}

/* Shows one tower; returns whether it is there and has signed for all that it should have. */
static bool show_tower(const struct session *session, const struct tower_entry *entry, size_t tower,
                       json_t *list)
{
    bool connected = rill_tower_is_connected(session->wallet, tower), covered = true;
    char place[HOST_BYTES_MAX + 64], text[HASH_TEXT_SIZE];
    struct rill_balance balance;
    json_t *json = entry_json(entry), *receipts = json_object(), *owed = json_object();
    if (!session->settings->json)
        printf("%s  %s\n", entry_text(entry, place), connected ? "connected" : "not connected");
    for (size_t c = 0; rill_balance_at(session->wallet, c, &balance); c++) {
        struct hash channel;
        memcpy(channel.bytes, balance.channel, sizeof(channel.bytes));
        uint64_t nonce = rill_tower_receipt(session->wallet, tower, balance.channel),
                 wanted = rill_tower_owed(session->wallet, balance.channel);
        covered = covered && (balance.stage != RILL_OPEN || nonce >= wanted);
        hash_text(&channel, text);
        json_object_set_new(receipts, text, json_integer((json_int_t)nonce));
        json_object_set_new(owed, text, json_integer((json_int_t)wanted));
        if (!session->settings->json)
            printf("  channel %.18s…  receipt for proof %llu of %llu%s\n", text, (unsigned long long)nonce,
                   (unsigned long long)wanted, nonce >= wanted ? "" : "  BEHIND");
    }
    json_object_set_new(json, "connected", json_boolean(connected));
    json_object_set_new(json, "covered", json_boolean(covered));
    json_object_set_new(json, "receipts", receipts);
    json_object_set_new(json, "owed", owed);
    json_array_append_new(list, json);
    return connected && covered;
}

int command_tower_status(int argc, char **argv)
{
    struct command_line line = {
        .name = "tower status",
        .usage = "[OPTIONS]",
        .about = "Asks the wallet's watchtowers: whether each is there, and up to which of the hub's proofs "
                 "it has "
                 "signed a\n"
                 "receipt, per channel.\n"
                 "Example: rill tower status\n"
                 "Exit codes: 0 each has all, 1 one is not there or behind, 2 none are set, 4 keystore, 5 "
                 "folder in "
                 "use.",
    };
    int code;
    struct tower_set set;
    if (!command_read(&line, argc, argv, &code))
        return code;
    const struct settings *settings = &line.settings;
    code = set_needed(settings, &set);
    if (code != RILL_EXIT_OK)
        return code;
    struct session session;
    code = session_open(&session, settings, SESSION_WALLET | SESSION_HUB, false);
    if (code != RILL_EXIT_OK) {
        session_close(&session);
        return code;
    }
    session.context = &set;
    session.quiet_trouble = true;
    (void)session_wait(&session, towers_connected, 5000, "the towers");
    (void)session_wait(&session, receipts_given, 2000, "their receipts");
    json_t *list = json_array();
    bool good = true;
    for (size_t i = 0; i < set.count; i++)
        good = show_tower(&session, &set.entries[i], i, list) && good;
    if (settings->json)
        command_print_json(json_pack("{s:O}", "towers", list));
    json_decref(list);
    session_close(&session);
    return good ? RILL_EXIT_OK : RILL_EXIT_FAILED;
}

/* ---- evidence ---- */

/* The wallet's folder, without hub or towers: what was signed for is on disk. */
int command_tower_prove(int argc, char **argv)
{
    struct command_line line = {
        .name = "tower prove",
        .usage = "[OPTIONS]",
        .about = "Prints what each watchtower has signed for, one line of JSON per tower and channel: its "
                 "receipt, "
                 "and the hub's\n"
                 "proof that it is for. Keep it, or give it to a third party: `rill tower verify` holds it "
                 "against "
                 "the ledger, and\n"
                 "shows whether the tower kept its word. Asks nobody.\n"
                 "Example: rill tower prove > evidence.json\n"
                 "Exit codes: 0 printed, 1 there is no receipt, 2 none are set, 4 keystore, 5 folder in use.",
    };
    int code;
    struct tower_set set;
    if (!command_read(&line, argc, argv, &code))
        return code;
    code = set_needed(&line.settings, &set);
    if (code != RILL_EXIT_OK)
        return code;
    struct session session;
    code = session_open(&session, &line.settings, SESSION_WALLET | SESSION_OFFLINE, false);
    size_t printed = 0;
    struct rill_balance balance;
    for (size_t c = 0; code == RILL_EXIT_OK && rill_balance_at(session.wallet, c, &balance); c++)
        for (size_t i = 0; i < set.count; i++) {
            char *text = rill_tower_evidence(session.wallet, i, balance.channel);
            if (text == NULL)
                continue;
            printf("%s\n", text);
            free(text);
            printed++;
        }
    session_close(&session);
    if (code == RILL_EXIT_OK && printed == 0)
        return command_fail(&line.settings, RILL_EXIT_FAILED, "no tower has given a receipt for a proof yet");
    return code;
}

/* The next line that is not empty. False at the end. */
static bool read_line(FILE *file, char *out)
{
    while (fgets(out, EVIDENCE_BYTES_MAX, file) != NULL)
        if (out[strspn(out, " \t\r\n")] != '\0')
            return true;
    return false;
}

static bool ask(struct session *session, const struct evidence *evidence, const struct contract_call *view,
                struct buffer *out)
{
    struct buffer data = {0};
    enum contract_error reverted;
    buffer_clear(out);
    contract_encode_call(&data, view);
    bool good = ledger_call_wait(rill_ledger_client(session->ledger), &evidence->contract, data.data,
                                 data.length, out, &reverted) == LEDGER_OK;
    buffer_free(&data);
    return good;
}

/* The newest block's time. */
static bool ask_time(struct session *session, uint64_t *out)
{
    json_t *block = ledger_read_json(session, "eth_getBlockByNumber", json_pack("[s, b]", "latest", false));
    bool good = quantity_u64(json_object_get(block, "timestamp"), out);
    json_decref(block);
    return good;
}

/* Whether setTower ever named the tower; a node that cannot tell leaves that open. */
static bool may_have_been_set(struct session *session, const struct evidence *evidence)
{
    char from[24], contract[ADDRESS_TEXT_SIZE], event[HASH_TEXT_SIZE], tower[HASH_TEXT_SIZE];
    const struct hash topic = contract_event_topic(EVENT_TOWER_SET);
    struct hash padded = HASH_ZERO;
    memcpy(padded.bytes + 12, evidence->tower.bytes, sizeof(evidence->tower.bytes));
    snprintf(from, sizeof(from), "0x%llx", (unsigned long long)session->settings->contract_block);
    json_t *logs =
        ledger_read_json(session, "eth_getLogs",
                         json_pack("[{s:s, s:s, s:s, s:[s, s]}]", "fromBlock", from, "toBlock", "latest",
                                   "address", address_text(&evidence->contract, contract), "topics",
                                   hash_text(&topic, event), hash_text(&padded, tower)));
    bool may = !json_is_array(logs) || json_array_size(logs) > 0;
    json_decref(logs);
    return may;
}

static bool ask_ground(struct session *session, const struct evidence *evidence, struct evidence_ground *out)
{
    struct buffer data = {0};
    unsigned_wide period = 0, is_tower = 0;
    bool good =
        ask(session, evidence, &(struct contract_call){.function = CONTRACT_HUB}, &data) &&
        contract_decode_address(data.data, data.length, 0, &out->hub) &&
        ask(session, evidence, &(struct contract_call){.function = CONTRACT_CHALLENGE_PERIOD}, &data) &&
        contract_decode_word(data.data, data.length, 0, &period) &&
        ask(session, evidence, &(struct contract_call){.function = CONTRACT_CHANNEL, .key = evidence->key},
            &data) &&
        contract_decode_channel(data.data, data.length, &out->state) &&
        ask(session, evidence, &(struct contract_call){.function = CONTRACT_CLOSING, .key = evidence->key},
            &data) &&
        contract_decode_closing(data.data, data.length, &out->closing) &&
        ask(session, evidence,
            &(struct contract_call){.function = CONTRACT_IS_TOWER, .address = evidence->tower}, &data) &&
        contract_decode_word(data.data, data.length, 0, &is_tower) && ask_time(session, &out->now);
    out->challenge_period_s = (uint64_t)period;
    out->is_tower = is_tower != 0;
    out->was_tower = good && (out->is_tower || may_have_been_set(session, evidence));
    buffer_free(&data);
    return good;
}

static int say_verdict(const struct session *session, const struct evidence *evidence,
                       const struct evidence_ground *ground, enum evidence_verdict verdict, const char *why)
{
    static const char *const names[] = {"failed", "kept", "not over", "worthless"};
    static const int codes[] = {RILL_EXIT_OK, RILL_EXIT_FAILED, RILL_EXIT_PENDING, RILL_EXIT_USAGE};
    const struct closing *closing = &ground->closing;
    uint64_t stands = closing->by_hub ? closing->of_hub.nonce : closing->of_client.nonce;
    struct hash channel = channel_id(&evidence->key);
    char tower[ADDRESS_TEXT_SIZE], text[HASH_TEXT_SIZE];
    if (session->settings->json) {
        command_print_json(json_pack("{s:s, s:s, s:o, s:o, s:I, s:I}", "verdict", names[verdict], "why", why,
                                     "tower", json_address(evidence->tower.bytes), "channel",
                                     json_hash(channel.bytes), "promised", (json_int_t)evidence->proof.nonce,
                                     "stands", (json_int_t)stands));
        return codes[verdict];
    }
    printf("%s  tower %s, channel %.18s…: %s (signed for %llu, %llu stands)\n",
           verdict == EVIDENCE_FAILED ? "FAILED" : names[verdict], address_text(&evidence->tower, tower),
           hash_text(&channel, text), why, (unsigned long long)evidence->proof.nonce,
           (unsigned long long)stands);
    return codes[verdict];
}

static int verify_one(struct session *session, const char *text)
{
    const struct settings *settings = session->settings;
    struct evidence evidence;
    struct evidence_ground ground = {0};
    const char *why;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    bool good = json != NULL && evidence_of_json(json, &evidence, &why);
    if (!good)
        why = json == NULL ? "it is not JSON" : why;
    json_decref(json);
    if (!good)
        return command_fail(settings, RILL_EXIT_USAGE, "%s", why);
    if (evidence.chain_id != rill_ledger_chain_id(session->ledger))
        return command_fail(
            settings, RILL_EXIT_USAGE,
            "the evidence is about chain %llu, and the ledger at %s is chain %llu: give --ledger",
            (unsigned long long)evidence.chain_id, settings->ledger,
            (unsigned long long)rill_ledger_chain_id(session->ledger));
    if (!ask_ground(session, &evidence, &ground))
        return command_fail(settings, RILL_EXIT_UNREACHABLE,
                            "the ledger at %s does not answer, or has no such contract", settings->ledger);
    enum evidence_verdict verdict = evidence_judge(&evidence, &ground, &why);
    return say_verdict(session, &evidence, &ground, verdict, why);
}

int command_tower_verify(int argc, char **argv)
{
    struct command_line line = {
        .name = "tower verify",
        .usage = "FILE [OPTIONS]",
        .about =
            "Holds evidence of `rill tower prove` or `rill hub tower-prove` (FILE, or - for standard input; "
            "one per line)\n"
            "against the ledger: did the\n"
            "watchtower sign for a newer proof than the one the close ended with? Needs no wallet, no key, "
            "and "
            "trusts nobody\n"
            "but the ledger node.\n"
            "Example: rill tower verify evidence.json --ledger http://127.0.0.1:8545\n"
            "Exit codes: 0 the tower has failed, 1 it has not, 2 the evidence is worthless,\n"
            "3 ledger not reached, 6 there is still time; of several lines, the first not 1.",
        .words_min = 1,
        .words_max = 1,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    FILE *file = strcmp(line.words[0], "-") == 0 ? stdin : fopen(line.words[0], "re");
    if (file == NULL)
        return command_fail(&line.settings, RILL_EXIT_USAGE, "cannot read %s: %s", line.words[0],
                            strerror(errno));
    struct session session;
    char *text = xmalloc(EVIDENCE_BYTES_MAX);
    code = session_open(&session, &line.settings, SESSION_LEDGER, false);
    int result = code == RILL_EXIT_OK ? RILL_EXIT_FAILED : code;
    size_t lines = 0;
    for (; code == RILL_EXIT_OK && read_line(file, text); lines++) {
        int one = verify_one(&session, text);
        if (result == RILL_EXIT_FAILED)
            result = one;
    }
    if (code == RILL_EXIT_OK && lines == 0)
        result = command_fail(&line.settings, RILL_EXIT_USAGE, "%s holds no evidence", line.words[0]);
    session_close(&session);
    free(text);
    if (file != stdin)
        fclose(file);
    return result;
}
