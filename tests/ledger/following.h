/* What the tests of following share: an owner that notes what it is told by a client of the scripted node. */
#ifndef RILL_TESTS_LEDGER_FOLLOWING_H
#define RILL_TESTS_LEDGER_FOLLOWING_H

#include "tests/ledger/scripted_node.h"

#define SEEN_LIMIT 4096

/* What the follower told: marks of confirmed and of young events, heads, reorganisations. */
struct told {
    struct ledger *ledger;
    uint64_t confirmed[SEEN_LIMIT], young[SEEN_LIMIT];
    size_t confirmed_count, young_count;
    uint64_t last_block;
    uint32_t last_index;
    unsigned heads, too_deep;
    uint64_t too_deep_block;
    struct ledger_head head;
    uint32_t confirmations;
    bool free_at_event, free_at_head;
    size_t hold_at; /* events: then it is enough for now; 0: never */
};

static inline void on_event(void *context, const struct contract_event *event)
{
    struct told *told = context;
    assert_int_equal(event->type, EVENT_FUNDED);
    assert_true(event->block_time >= NODE_TIME);
    if (event->confirmed) {
        bool is_later = event->block > told->last_block ||
                        (event->block == told->last_block && event->log_index > told->last_index);
        assert_true(told->confirmed_count == 0 || is_later);
        assert_true(told->heads == 0 || event->block > told->head.confirmed_number);
        told->last_block = event->block;
        told->last_index = event->log_index;
        assert_true(told->confirmed_count < SEEN_LIMIT);
        told->confirmed[told->confirmed_count++] = event->client_amount.units;
    } else {
        assert_true(told->young_count < SEEN_LIMIT);
        told->young[told->young_count++] = event->client_amount.units;
    }
    if (told->hold_at > 0 && told->confirmed_count + told->young_count == told->hold_at)
        ledger_follow_hold(told->ledger, true);
    if (told->free_at_event)
        ledger_free(told->ledger);
}

static inline void on_head(void *context, const struct ledger_head *head)
{
    struct told *told = context;
    assert_true(head->confirmed_number <= head->number &&
                head->confirmed_number >= told->head.confirmed_number);
    assert_true(head->time >= NODE_TIME && head->confirmed_time >= NODE_TIME &&
                head->confirmed_time <= head->time);
    told->heads++;
    told->head = *head;
    if (told->free_at_head)
        ledger_free(told->ledger);
}

static inline void on_too_deep(void *context, uint64_t block)
{
    struct told *told = context;
    told->too_deep++;
    told->too_deep_block = block;
}

static const struct ledger_follow callbacks = {on_event, on_head, on_too_deep};

static inline struct ledger *follow(struct node *node, uint32_t confirmations, uint64_t from,
                                    struct told *told)
{
    struct ledger_options options = node_options(node);
    options.confirmations = confirmations;
    options.logs_range_max = 100;
    memset(told, 0, sizeof(*told));
    told->confirmations = confirmations;
    told->ledger = ledger_new(node->base, &options);
    ledger_follow(told->ledger, from, &callbacks, told);
    return told->ledger;
}

/* Runs until the follower knows the node's newest block, and has nothing more to say. */
static inline void settle(struct node *node, struct told *told)
{
    node_run_until(node, told->heads > 0 && told->head.number == node->height &&
                             told->head.time == node->blocks[node->height].time &&
                             told->head.confirmed_number + told->confirmations >= node->height &&
                             ledger_trouble(told->ledger)[0] == '\0');
}

static inline void marks_mine(struct node *node, uint64_t from, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        node_mine(node, 1);
        node_mark_add(node, from + i);
    }
}

static inline void assert_all_marks(const struct told *told, size_t count)
{
    assert_int_equal(told->confirmed_count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(told->confirmed[i], i);
}

#endif
