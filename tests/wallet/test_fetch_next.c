/* Offers that came with an answer: the newest that can be paid first, and those of old do not keep the new ones out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wallet/fetch_state.h"

#define NOW 1000u

static void keep(struct next_offers *offers, uint16_t place, uint64_t units, uint64_t expires)
{
    struct hash of = {{(uint8_t)(place >> 8), (uint8_t)place}};
    struct fetch_offer offer = {.units = units, .expires = expires};
    assert_true(next_offers_have_room(offers, NOW));
    next_offers_keep(offers, &of, &offer);
}

/* 0: there is none. */
static uint64_t taken(struct next_offers *offers, uint16_t place, uint64_t now_s)
{
    struct hash of = {{(uint8_t)(place >> 8), (uint8_t)place}};
    struct fetch_offer offer;
    return next_offers_take(offers, &of, now_s, &offer) ? offer.units : 0;
}

static void test_newest_first(void **state)
{
    struct next_offers *offers = next_offers_new();
    (void)state;
    keep(offers, 1, 10, NOW + 100);
    keep(offers, 1, 20, NOW + 100);
    keep(offers, 1, 30, NOW + 50);
    keep(offers, 2, 40, NOW + 100);
    assert_int_equal(taken(offers, 1, NOW + 50), 20);
    assert_int_equal(taken(offers, 1, NOW), 10);
    assert_int_equal(taken(offers, 1, NOW), 0);
    assert_int_equal(taken(offers, 2, NOW), 40);
    next_offers_free(offers);
}

static void test_expired_make_room(void **state)
{
    struct next_offers *offers = next_offers_new();
    (void)state;
    for (uint16_t i = 0; i < NEXT_OFFERS_MAX; i++) /* four to a place, the second and the third still good */
        keep(offers, i / 4, i, i % 4 == 1 || i % 4 == 2 ? NOW + 200 : NOW + 50);
    assert_false(next_offers_have_room(offers, NOW));
    assert_true(next_offers_have_room(offers, NOW + 100));
    for (uint16_t i = 0; i < NEXT_OFFERS_MAX / 2; i++)
        keep(offers, 5000, i + 1u, NOW + 200);
    assert_false(next_offers_have_room(offers, NOW + 100));
    for (uint16_t place = 0; place < NEXT_OFFERS_MAX / 4; place++) {
        assert_int_equal(taken(offers, place, NOW + 100), place * 4 + 2);
        assert_int_equal(taken(offers, place, NOW + 100), place * 4 + 1);
        assert_int_equal(taken(offers, place, NOW + 100), 0);
    }
    assert_int_equal(taken(offers, 5000, NOW + 100), NEXT_OFFERS_MAX / 2);
    next_offers_free(offers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newest_first),
        cmocka_unit_test(test_expired_make_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
