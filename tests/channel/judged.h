/* Updates that must not be accepted: their judgement, and that nothing changed. */
#ifndef RILL_TESTS_CHANNEL_JUDGED_H
#define RILL_TESTS_CHANNEL_JUDGED_H

#include "tests/channel/pair.h"

#define H SIDE_HUB
#define C SIDE_CLIENT

/* The judgement of an update that must not be accepted, with the state before and after compared. */
static inline struct judgement judged(struct pair *pair, enum side to, const struct sent *sent)
{
    struct buffer before = {0}, news = {0};
    snapshot(pair->sides[to], &before);
    wide client = channel_available(pair->sides[to], C), hub = channel_available(pair->sides[to], H);
    struct judgement judgement = receive(pair, to, sent);
    channel_write(pair->sides[to], &news);
    assert_int_equal(news.length, 0);
    assert_unchanged(pair->sides[to], &before);
    assert_true(channel_available(pair->sides[to], C) == client &&
                channel_available(pair->sides[to], H) == hub);
    buffer_free(&before);
    buffer_free(&news);
    return judgement;
}

#define assert_judged(pair, to, sent, expected_verdict, expected_code)                                       \
    do {                                                                                                     \
        struct judgement judgement_ = judged(pair, to, sent);                                                \
        assert_int_equal(judgement_.verdict, expected_verdict);                                              \
        assert_int_equal(judgement_.code, expected_code);                                                    \
    } while (0)
#define assert_refused(pair, to, sent, code) assert_judged(pair, to, sent, VERDICT_REFUSED, code)
#define assert_held(pair, to, sent, code)    assert_judged(pair, to, sent, VERDICT_HELD, code)

#define assert_op_refused(pair, from, operation, code)                                                       \
    do {                                                                                                     \
        struct sent sent_ = forge_one(pair, from, operation);                                                \
        assert_refused(pair, side_other(from), &sent_, code);                                                \
    } while (0)

#endif
