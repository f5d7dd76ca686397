/* One contract's post: its journal, its ledger client and its core. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "watchtower/shell_state.h"

#define RECORDS_VERSION 1
#define LEDGER_RETRY_MS 1000
/* A node that gives no good answer for an eighth of the challenge period, within these, is worth an alarm. */
#define BLIND_MS_MIN 30000
#define BLIND_MS_MAX 3600000

void post_flush(struct post *post)
{
    outbox_release(post->outbox, journal_durable(post->journal));
    peers_resume(post);
}

/* ---- the core's effects ---- */

static uint64_t effect_append(void *context, const uint8_t *batch, size_t length)
{
    struct post *post = context;
    post->last_appended = journal_append(post->journal, batch, length);
    return post->last_appended;
}

static void effect_send(void *context, uint64_t sequence, uint64_t peer, const struct message *message)
{
    struct post *post = context;
    if (message->type == MESSAGE_ERROR) {
        post->refused_peer = peer;
        post->refused_code = message->error.code;
    }
    outbox_put(post->outbox, sequence, peer, message);
}

static void effect_say(void *context, enum log_level level, const char *line)
{
    const struct post *post = context;
    if (post->shell->settings->post_count > 1)
        log_line(level, "%s: %s", post->settings->name, line);
    else
        log_line(level, "%s", line);
}

/* Posts it, if there is somewhere to. */
static void effect_alarm(void *context, const struct tower_alarm *alarm)
{
    const struct post *post = context;
    char tower[ADDRESS_TEXT_SIZE], contract[ADDRESS_TEXT_SIZE], channel[HASH_TEXT_SIZE];
    if (post->shell->webhook == NULL)
        return;
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s}", "alarm", tower_alarm_name(alarm->kind),
                             "tower", address_text(&post->shell->self, tower), "name", post->settings->name,
                             "contract", address_text(&post->settings->contract, contract), "chain_id",
                             (json_int_t)ledger_chain_id(post->ledger), "time", (json_int_t)clock_unix_s(),
                             "text", alarm->line);
    ensure(json != NULL);
    if (alarm->channel != NULL)
        json_object_set_new(json, "channel", json_string(hash_text(alarm->channel, channel)));
    if (alarm->duty != NULL)
        json_object_set_new(json, "duty", json_string(alarm->duty));
    if (alarm->kind == TOWER_ALARM_DEADLINE)
        json_object_set_new(json, "left_s", json_integer((json_int_t)alarm->left_s));
    webhook_post(post->shell->webhook, json);
}

/* What an answer of the ledger client belongs to. */
struct errand {
    struct post *post;
    uint64_t id;
};

static struct errand *errand_new(struct post *post, uint64_t id)
{
    struct errand *errand = xmalloc(sizeof *errand);
    *errand = (struct errand){post, id};
    return errand;
}

static void on_answer(void *context, enum ledger_error error, enum contract_error reverted,
                      const uint8_t *data, size_t length)
{
    struct errand errand = *(struct errand *)context;
    (void)reverted;
    free(context);
    if (error == LEDGER_STOPPED)
        return;
    uint64_t refused = tower_refused(errand.post->tower);
    tower_answer(errand.post->tower, errand.id, error == LEDGER_OK, data, length);
    if (errand.post->refused_code != CODE_LIMIT) /* that it cannot ask is not the peer's doing */
        peers_charge(errand.post, refused);
    post_flush(errand.post);
}

static void effect_ask(void *context, uint64_t question, const struct contract_call *view)
{
    struct post *post = context;
    struct buffer data = {0};
    contract_encode_call(&data, view);
    ledger_call(post->ledger, NULL, data.data, data.length, on_answer, errand_new(post, question));
    buffer_free(&data);
}

static void on_sent(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    struct errand errand = *(struct errand *)context;
    free(context);
    if (error == LEDGER_STOPPED)
        return;
    bool success = error == LEDGER_OK && receipt != NULL && receipt->success;
    unsigned_wide cost = receipt != NULL ? receipt->cost_wei : 0;
    tower_outcome(errand.post->tower, errand.id, error, success,
                  receipt != NULL ? receipt->reverted : CONTRACT_UNNAMED, cost);
    post_flush(errand.post);
}

/* Through the one client that sends on this chain: two would give the key's nonces twice. */
static void effect_submit(void *context, uint64_t submission, const struct contract_call *call,
                          const struct ledger_terms *terms)
{
    struct post *post = context;
    struct buffer data = {0};
    contract_encode_call(&data, call);
    ledger_send_under(post->sender->ledger, &post->shell->settings->key, &post->settings->contract, data.data,
                      data.length, terms, on_sent, errand_new(post, submission));
    buffer_free(&data);
}

/* ---- following ---- */

static void on_event(void *context, const struct contract_event *event)
{
    struct post *post = context;
    tower_event(post->tower, event);
    post_flush(post);
}

static void on_head(void *context, const struct ledger_head *head)
{
    struct post *post = context;
    struct hash confirmed = ledger_confirmed_hash(post->ledger);
    tower_head(post->tower, head, &confirmed);
    post_flush(post);
}

static void on_too_deep(void *context, uint64_t block)
{
    struct post *post = context;
    tower_reorganised(post->tower, block);
    post_flush(post);
}

/* ---- the start: what must be asked of the ledger ---- */

static void ask_hub(struct post *post);

static void retry_later(struct post *post, enum ledger_error error)
{
    const char *trouble = ledger_trouble(post->ledger);
    log_warn("waiting for the ledger at %s: %s", post->settings->ledger_url,
             *trouble != '\0' ? trouble : ledger_error_text(error));
    struct timeval wait = {LEDGER_RETRY_MS / 1000, LEDGER_RETRY_MS % 1000 * 1000};
    evtimer_add(post->retry, &wait);
}

static void on_retry(evutil_socket_t descriptor, short events, void *context)
{
    (void)descriptor;
    (void)events;
    ask_hub(context);
}

/* Returns true if the answer can be used; else it has been dealt with. */
static bool answer_is_good(struct post *post, enum ledger_error error, size_t length)
{
    char text[ADDRESS_TEXT_SIZE];
    if (error == LEDGER_STOPPED)
        return false;
    if (error != LEDGER_OK && error != LEDGER_REVERTED) {
        retry_later(post, error);
        return false;
    }
    if (error == LEDGER_REVERTED || length != 32) {
        shell_fail(post->shell,
                   "there is no Rill contract at %s on this ledger: check --contract and --ledger",
                   address_text(&post->settings->contract, text));
        return false;
    }
    return true;
}

static void ask_view(struct post *post, enum contract_function function, ledger_answer *answer)
{
    struct buffer data = {0};
    contract_encode_call(&data, &(struct contract_call){.function = function});
    ledger_call(post->ledger, NULL, data.data, data.length, answer, post);
    buffer_free(&data);
}

/* The post that sends on this one's chain. False, after a line, if the two do not fit together. */
static bool find_sender(struct post *post)
{
    struct shell *shell = post->shell;
    post->sender = post;
    for (size_t i = 0; i < shell->settings->post_count; i++) {
        struct post *other = &shell->posts[i];
        if (!other->serves || other->sender != other ||
            ledger_chain_id(other->ledger) != ledger_chain_id(post->ledger))
            continue;
        if (strcmp(other->settings->ledger_url, post->settings->ledger_url) != 0) {
            shell_fail(shell,
                       "%s and %s are both on chain %" PRIu64
                       ", at two nodes: name one node for both, or, if they "
                       "are two ledgers, give each a chain id of its own",
                       other->settings->name, post->settings->name, ledger_chain_id(post->ledger));
            return false;
        }
        if (other->settings->confirmations != post->settings->confirmations) {
            shell_fail(shell, "%s and %s are on one chain: give both the same confirmations",
                       other->settings->name, post->settings->name);
            return false;
        }
        post->sender = other;
    }
    return true;
}

static void start_serving(struct post *post)
{
    static const struct ledger_follow follow = {.event = on_event, .head = on_head, .too_deep = on_too_deep};
    char message[512], contract[ADDRESS_TEXT_SIZE], self[ADDRESS_TEXT_SIZE];
    if (post->shell->stopping || !find_sender(post))
        return;
    struct domain domain = domain_make(ledger_chain_id(post->ledger), &post->settings->contract);
    if (!peers_listen(post, &domain, message, sizeof message)) {
        shell_fail(post->shell, "%s", message);
        return;
    }
    uint64_t cursor;
    struct hash before;
    ensure(tower_cursor(post->tower, &cursor, &before));
    ledger_follow_on(post->ledger, cursor, &before, &follow, post);
    log_info("%s: tower %s for contract %s on chain %" PRIu64 ", following from block %" PRIu64,
             post->settings->name, address_text(&post->shell->self, self),
             address_text(&post->settings->contract, contract), ledger_chain_id(post->ledger), cursor);
    post->serves = true;
    shell_serves(post->shell, post);
}

/* A new journal: nothing before this block can concern it, for a channel's state is asked when it is first
 * appointed. */
static void on_block_number(void *context, enum ledger_error error, const char *text)
{
    struct post *post = context;
    if (error == LEDGER_STOPPED)
        return;
    char *end = NULL;
    uint64_t block = text == NULL ? 0 : strtoull(text + (*text == '"'), &end, 16);
    if (error != LEDGER_OK || end == NULL || *end != '"') {
        retry_later(post, error == LEDGER_OK ? LEDGER_MALFORMED : error);
        return;
    }
    tower_begin(post->tower, block);
    start_serving(post);
}

static bool visit(void *context, const struct record *record)
{
    return tower_read(context, record);
}

static void recover(struct post *post)
{
    static const struct tower_effects effects = {.append = effect_append,
                                                 .send = effect_send,
                                                 .ask = effect_ask,
                                                 .submit = effect_submit,
                                                 .say = effect_say,
                                                 .alarm = effect_alarm};
    const struct shell_settings *settings = post->shell->settings;
    struct tower_options options = {.chain_id = ledger_chain_id(post->ledger),
                                    .contract = post->settings->contract,
                                    .hub = post->hub,
                                    .challenge_period_s = post->challenge_period_s,
                                    .confirmations = post->settings->confirmations,
                                    .budget_response_wei = settings->budget_response_wei,
                                    .budget_day_wei = settings->budget_day_wei,
                                    .register_margin_s = settings->register_margin_s,
                                    .key = settings->key,
                                    .quotas = settings->quotas};
    post->tower = tower_new(&options, &effects, post);
    bytes_wipe(&options.key, sizeof options.key);
    tower_tick(post->tower, clock_monotonic_us() / 1000);
    char message[256] = "the journal holds a record that this version does not understand";
    if (!journal_recover(post->journal, visit, post->tower) ||
        !tower_recovered(post->tower, message, sizeof message)) {
        shell_fail(post->shell, "%s: %s: %s", settings->data, post->settings->name, message);
        return;
    }
    struct tower_figures figures = tower_figures(post->tower);
    uint64_t cursor;
    log_info("%s: recovered %" PRIu64 " appointments of %" PRIu64 " users, %" PRIu64 " channels in dispute",
             post->settings->name, figures.appointments, figures.users, figures.watches);
    if (tower_cursor(post->tower, &cursor, NULL))
        start_serving(post);
    else
        ledger_request(post->ledger, "eth_blockNumber", "[]", on_block_number, post);
}

static void on_separator(void *context, enum ledger_error error, enum contract_error reverted,
                         const uint8_t *data, size_t length)
{
    struct post *post = context;
    (void)reverted;
    if (!answer_is_good(post, error, length))
        return;
    struct domain domain = domain_make(ledger_chain_id(post->ledger), &post->settings->contract);
    if (memcmp(data, domain.separator.bytes, sizeof domain.separator.bytes) != 0) {
        shell_fail(post->shell, "the contract's EIP-712 domain is not Rill version 1 on chain %" PRIu64,
                   domain.chain_id);
        return;
    }
    if (post->tower == NULL)
        recover(post);
    else /* the journal was new, and the node failed in between */
        ledger_request(post->ledger, "eth_blockNumber", "[]", on_block_number, post);
}

static void on_period(void *context, enum ledger_error error, enum contract_error reverted,
                      const uint8_t *data, size_t length)
{
    struct post *post = context;
    (void)reverted;
    unsigned_wide period;
    if (!answer_is_good(post, error, length))
        return;
    if (!contract_decode_word(data, length, 0, &period) || period == 0 || period > UINT64_MAX) {
        shell_fail(post->shell, "the contract's challenge period makes no sense");
        return;
    }
    post->challenge_period_s = (uint64_t)period;
    ask_view(post, CONTRACT_DOMAIN_SEPARATOR, on_separator);
}

static void on_hub(void *context, enum ledger_error error, enum contract_error reverted, const uint8_t *data,
                   size_t length)
{
    struct post *post = context;
    (void)reverted;
    if (!answer_is_good(post, error, length))
        return;
    if (!contract_decode_address(data, length, 0, &post->hub)) {
        shell_fail(post->shell, "the contract's hub() is not an address");
        return;
    }
    if (address_equal(&post->hub, &post->shell->self))
        log_warn("this tower has the hub's own key: give it one of its own");
    ask_view(post, CONTRACT_CHALLENGE_PERIOD, on_period);
}

static void ask_hub(struct post *post)
{
    ask_view(post, CONTRACT_HUB, on_hub);
}

/* ---- time, disk ---- */

static uint64_t blind_limit_ms(const struct post *post)
{
    uint64_t limit = post->challenge_period_s / 8;
    if (limit > BLIND_MS_MAX / 1000)
        return BLIND_MS_MAX;
    return limit * 1000 < BLIND_MS_MIN ? BLIND_MS_MIN : limit * 1000;
}

/* A tower that does not see its ledger cannot see a deadline either. */
static void watch_node(struct post *post, uint64_t now_ms)
{
    const char *trouble = ledger_trouble(post->ledger);
    if (*trouble == '\0') {
        post->blind_since_ms = 0;
        post->blind_told = false;
        return;
    }
    if (post->blind_since_ms == 0)
        post->blind_since_ms = now_ms;
    if (post->blind_told || now_ms - post->blind_since_ms < blind_limit_ms(post))
        return;
    post->blind_told = true;
    tower_blind(post->tower, (now_ms - post->blind_since_ms) / 1000, trouble);
}

void post_tick(struct post *post, uint64_t now_ms)
{
    if (!post->serves)
        return;
    tower_tick(post->tower, now_ms);
    watch_node(post, now_ms);
    post_flush(post);
}

static void on_wake(evutil_socket_t descriptor, short events, void *context)
{
    struct post *post = context;
    uint64_t count;
    (void)events;
    if (read(descriptor, &count, sizeof count) < 0 && errno != EAGAIN)
        shell_fail(post->shell, "the journal's descriptor: %s", strerror(errno));
    post_flush(post);
}

static bool make_folder(const char *path)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return true;
    log_error("cannot make the folder %s: %s", path, strerror(errno));
    return false;
}

/* The first post's journal is where it is without others. */
static bool open_journal(struct post *post)
{
    char path[4096], message[512];
    const char *folder = post->shell->settings->data, *name = post->settings->name;
    bool is_first = post == post->shell->posts;
    if (snprintf(path, sizeof path, "%s/%s/journal", folder, name) >= (int)sizeof path) {
        log_error("--data: the path is too long");
        return false;
    }
    if (is_first) {
        snprintf(path, sizeof path, "%s/journal", folder);
    } else {
        snprintf(path, sizeof path, "%s/%s", folder, name);
        if (!make_folder(path))
            return false;
        snprintf(path, sizeof path, "%s/%s/journal", folder, name);
    }
    struct store_options options = {.path = path, .application = "tower", .version = RECORDS_VERSION};
    if (store_open(&options, &post->journal, message, sizeof message) == STORE_OK)
        return true;
    log_error("%s", message);
    return false;
}

bool post_open(struct post *post)
{
    const struct shell_settings *settings = post->shell->settings;
    if (!open_journal(post))
        return false;
    post->outbox = outbox_new(peers_deliver, post);
    post->retry = evtimer_new(post->shell->base, on_retry, post);
    post->wake = event_new(post->shell->base, journal_wake_descriptor(post->journal), EV_READ | EV_PERSIST,
                           on_wake, post);
    ensure(post->retry != NULL && post->wake != NULL && event_add(post->wake, NULL) == 0);
    struct ledger_options options = {.url = post->settings->ledger_url,
                                     .chain_id = post->settings->chain_id,
                                     .contract = post->settings->contract,
                                     .confirmations = post->settings->confirmations,
                                     .poll_ms = settings->poll_ms,
                                     .max_fee_per_gas = settings->max_fee_per_gas,
                                     .fills_gaps = true};
    post->ledger = ledger_new(post->shell->base, &options);
    post->waiting_for = "waiting for the ledger";
    ask_hub(post);
    return true;
}

void post_stop(struct post *post)
{
    if (post->retry != NULL)
        evtimer_del(post->retry);
    if (post->server != NULL)
        link_server_stop(post->server);
    if (post->last_appended > 0)
        journal_wait(post->journal, post->last_appended);
    if (post->outbox != NULL)
        outbox_release(post->outbox, journal_durable(post->journal));
    peers_dismiss(post);
}

void post_close(struct post *post)
{
    peers_free(post);
    if (post->outbox != NULL)
        outbox_free(post->outbox);
    tower_free(post->tower);
    if (post->retry != NULL)
        event_free(post->retry);
    if (post->wake != NULL)
        event_free(post->wake);
    if (post->journal != NULL)
        journal_close(post->journal);
}
