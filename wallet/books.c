#include "wallet/books.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "wallet/ledger_read.h"
#include "wallet/sending.h"

#define STILL_TRIES 50 /* to find the contract at rest while its balances are read */

/* ---- events ---- */

static struct book *book_of(struct books *books, const struct address *asset)
{
    for (size_t i = 0; i < books->count; i++)
        if (address_equal(&books->books[i].asset, asset))
            return &books->books[i];
    return NULL;
}

static struct book_channel *channel_of(const struct books *books, const struct hash *id)
{
    struct book_channel *channel;
    HASH_FIND(hh, books->channels, id, sizeof(*id), channel);
    return channel;
}

static void event_listed(struct books *books, const struct contract_event *event)
{
    if (books->count == ASSETS_MAX || book_of(books, &event->address) != NULL)
        return;
    books->books[books->count++] = (struct book){.asset = event->address, .unit = event->wide_amount};
}

static void event_opened(struct books *books, const struct contract_event *event)
{
    struct book *book = book_of(books, &event->other);
    if (book == NULL || channel_of(books, &event->channel) != NULL)
        return;
    struct book_channel *channel = xcalloc(1, sizeof(*channel));
    channel->id = event->channel;
    channel->book = (size_t)(book - books->books);
    book->now.open++;
    HASH_ADD(hh, books->channels, id, sizeof(channel->id), channel);
}

static void add_to_channel(struct books *books, struct book_channel *channel, wide change)
{
    wide total = (wide)channel->total.units + change;
    if (total < 0 || total >= (wide)AMOUNT_LIMIT)
        books->trouble = "a channel's total leaves its bounds";
    else
        channel->total = amount_of((uint64_t)total);
    books->books[channel->book].now.channels += change;
}

static void close_channel(struct books *books, struct book_channel *channel)
{
    channel->closed = true;
    books->books[channel->book].now.open--;
    add_to_channel(books, channel, -(wide)channel->total.units);
}

static void event_settled(struct books *books, struct book_channel *channel,
                          const struct contract_event *event)
{
    books->books[channel->book].now.pool += event->hub_out.units;
    if (event->close)
        close_channel(books, channel);
    else
        add_to_channel(books, channel, -(wide)event->client_out.units - (wide)event->hub_out.units);
}

/* What a penalty took from the pool is what was paid beyond the channel's total. */
static void event_finished(struct books *books, struct book_channel *channel,
                           const struct contract_event *event)
{
    struct book_sums *sums = &books->books[channel->book].now;
    wide held = (wide)event->held_client.units + event->held_hub.units;
    wide paid = held + event->to_client.units + event->to_hub.units + event->bounty.units;
    sums->pool -= paid - (wide)channel->total.units;
    sums->pool += event->to_hub.units;
    sums->held += held;
    close_channel(books, channel);
}

static void event_unlocked(struct books *books, const struct book_channel *channel,
                           const struct contract_event *event)
{
    struct book_sums *sums = &books->books[channel->book].now;
    sums->held -= event->amount.units;
    if (event->of_client == event->to_receiver) /* the client's lock claimed, or the hub's gone back */
        sums->pool += event->amount.units;
}

/* The hub's own is what the pool could not take; else a payout that could not be delivered. */
static void event_owed(struct books *books, const struct contract_event *event)
{
    struct book *book = book_of(books, &event->other);
    if (book == NULL)
        return;
    book->now.owed += event->amount.units;
    if (address_equal(&event->address, &books->hub) && book->now.pool >= (wide)AMOUNT_LIMIT)
        book->now.pool -= event->amount.units;
}

static void channel_event(struct books *books, const struct contract_event *event)
{
    struct book_channel *channel = channel_of(books, &event->channel);
    if (channel == NULL) {
        books->trouble = "an event is of a channel that was never opened (is --contract-block too high?)";
    } else if (event->type == EVENT_FUNDED) {
        add_to_channel(books, channel, (wide)event->client_amount.units + event->hub_amount.units);
        books->books[channel->book].now.pool -= event->hub_amount.units;
    } else if (event->type == EVENT_SETTLED) {
        event_settled(books, channel, event);
    } else if (event->type == EVENT_FINISHED) {
        event_finished(books, channel, event);
    } else {
        event_unlocked(books, channel, event);
    }
}

static void take_then(struct books *books)
{
    struct book_channel *channel, *next;
    books->has_then = true;
    for (size_t i = 0; i < books->count; i++)
        books->books[i].then = books->books[i].now;
    HASH_ITER(hh, books->channels, channel, next)
    {
        channel->was_there = !channel->closed;
        channel->was = channel->total;
    }
}

void books_event(struct books *books, const struct contract_event *event)
{
    struct book *book = NULL;
    books->events++;
    if (!books->has_then && event->block > books->then)
        take_then(books);
    switch (event->type) {
    case EVENT_ASSET_LISTED:
        event_listed(books, event);
        return;
    case EVENT_POOL_DEPOSITED:
    case EVENT_POOL_WITHDRAWN:
        book = book_of(books, &event->address);
        if (book != NULL)
            book->now.pool +=
                event->type == EVENT_POOL_DEPOSITED ? (wide)event->amount.units : -(wide)event->amount.units;
        return;
    case EVENT_OPENED:
        event_opened(books, event);
        return;
    case EVENT_FUNDED:
    case EVENT_SETTLED:
    case EVENT_FINISHED:
    case EVENT_UNLOCKED:
        channel_event(books, event);
        return;
    case EVENT_OWED_RECORDED:
        event_owed(books, event);
        return;
    case EVENT_OWED_WITHDRAWN:
        book = book_of(books, &event->other);
        if (book != NULL)
            book->now.owed -= (wide)event->wide_amount;
        return;
    case EVENT_SETTLE_SKIPPED:
    case EVENT_BATCH_SETTLED:
    case EVENT_CLOSE_STARTED:
    case EVENT_CHALLENGED:
    case EVENT_LOCKS_VOIDED:
    case EVENT_TOWER_SET:
    case EVENT_CONDITION_MET:
    case EVENT_TOKEN_CREATED:
    case EVENT_TYPE_COUNT:
        return; /* they move nothing */
    }
}

void books_head(struct books *books, uint64_t block)
{
    books->now = block;
    if (!books->has_then && block >= books->then)
        take_then(books);
}

void books_free(struct books *books)
{
    struct book_channel *channel, *next;
    HASH_ITER(hh, books->channels, channel, next)
    {
        HASH_DEL(books->channels, channel);
        free(channel);
    }
    *books = (struct books){.count = 0};
}

const struct book *books_of(const struct books *books, const struct address *asset)
{
    for (size_t i = 0; i < books->count; i++)
        if (address_equal(&books->books[i].asset, asset))
            return &books->books[i];
    return NULL;
}

const struct book_channel *books_channel(const struct books *books, const struct hash *id)
{
    return channel_of(books, id);
}

/* ---- from the node ---- */

static void on_event(void *context, const struct contract_event *event)
{
    if (event->confirmed)
        books_event(context, event);
}

static void on_head(void *context, const struct ledger_head *head)
{
    books_head(context, head->confirmed_number);
}

static void on_too_deep(void *context, uint64_t block)
{
    (void)block;
    ((struct books *)context)->trouble = "the ledger was reorganised meanwhile: try again";
}

struct wish {
    const struct books *books;
    uint64_t block;
};

static bool has_come(struct session *session)
{
    const struct wish *wish = session->context;
    return wish->books->trouble != NULL || (wish->books->has_then && wish->books->now >= wish->block);
}

static bool come_to(struct session *session, const struct books *books, uint64_t block)
{
    struct wish wish = {books, block};
    session->context = &wish;
    return session_wait(session, has_come, session->settings->timeout_s * 1000, "the ledger's events");
}

static void read_custody(struct session *session, struct books *books)
{
    struct address contract = ledger_read_contract(session);
    for (size_t i = 0; i < books->count; i++) {
        struct book *book = &books->books[i];
        book->has_custody = address_is_zero(&book->asset)
                                ? sending_coin_balance(session, &contract, &book->custody)
                                : sending_token_balance(session, &book->asset, &contract, &book->custody);
    }
}

static int come_to_head(struct session *session, struct books *books)
{
    const struct settings *settings = session->settings;
    uint64_t head;
    if (!ledger_read_head(session, &head))
        return command_fail(settings, RILL_EXIT_UNREACHABLE, "%s", session->text);
    if (!come_to(session, books, head > books->then ? head : books->then))
        return command_fail(settings, RILL_EXIT_PENDING,
                            "the ledger's events were not read in time: give more with --timeout-s");
    if (books->trouble != NULL)
        return command_fail(settings, RILL_EXIT_FAILED, "the events of the contract do not add up: %s",
                            books->trouble);
    return RILL_EXIT_OK;
}

/* Balances are of whatever block is newest when they are asked for: they belong to the books if no event came from before
 * to after. */
static int read_at_rest(struct session *session, struct books *books)
{
    int code = come_to_head(session, books);
    for (int i = 0; i < STILL_TRIES && code == RILL_EXIT_OK; i++) {
        uint64_t events = books->events;
        read_custody(session, books);
        code = come_to_head(session, books);
        if (code == RILL_EXIT_OK && books->events == events)
            return RILL_EXIT_OK;
    }
    return code != RILL_EXIT_OK ? code
                                : command_fail(session->settings, RILL_EXIT_PENDING,
                                               "money moves faster than it can be read: try again later");
}

int books_read(struct session *session, uint64_t then, struct books *out)
{
    static const struct ledger_follow callbacks = {on_event, on_head, on_too_deep};
    const struct settings *settings = session->settings;
    const struct ledger_options options = {.url = settings->ledger,
                                           .chain_id = rill_ledger_chain_id(session->ledger),
                                           .contract = ledger_read_contract(session),
                                           .poll_ms = 100};
    *out = (struct books){.then = then};
    rill_ledger_hub(session->ledger, out->hub.bytes);
    struct ledger *ledger = ledger_new(session->base, &options);
    ledger_follow(ledger, settings->contract_block, &callbacks, out);
    int code = read_at_rest(session, out);
    ledger_free(ledger);
    return code;
}
