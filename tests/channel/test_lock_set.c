/* The set of pending locks, held to a tree of 1,024 leaves that is computed whole each time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "channel/lock_set.h"
#include "crypto/hash.h"
#include "crypto/lock.h"

/* What the set should hold: the lock at each place. */
struct naive {
    struct pending_lock locks[LOCKS_PER_STREAM_MAX];
    bool taken[LOCKS_PER_STREAM_MAX];
    size_t count;
};

static struct naive naive;

static uint64_t random_state;

static uint64_t random_below(uint64_t limit)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % limit;
}

static struct pending_lock lock_of(uint64_t id)
{
    uint8_t seed[8];
    store_be64(seed, id);
    return (struct pending_lock){
        .lock = {.id = id,
                 .amount = amount_of(1000 + id % 977),
                 .expiry = 1900000000 + id,
                 .kind = (uint8_t)(id % 2),
                 .condition = keccak256(seed, sizeof(seed))},
        .fee = amount_of(id % 5),
    };
}

static struct hash naive_root(void)
{
    static struct hash level[LOCKS_PER_STREAM_MAX];
    for (size_t i = 0; i < LOCKS_PER_STREAM_MAX; i++)
        level[i] = naive.taken[i] ? lock_leaf(&naive.locks[i].lock) : HASH_ZERO;
    for (size_t width = LOCKS_PER_STREAM_MAX; width > 1; width /= 2)
        for (size_t i = 0; i < width / 2; i++)
            level[i] = merkle_node(&level[2 * i], &level[2 * i + 1]);
    return level[0];
}

static uint64_t naive_next(uint64_t after)
{
    uint64_t next = 0;
    for (size_t i = 0; i < LOCKS_PER_STREAM_MAX; i++)
        if (naive.taken[i] && naive.locks[i].lock.id > after && (next == 0 || naive.locks[i].lock.id < next))
            next = naive.locks[i].lock.id;
    return next;
}

static void add_both(struct lock_set *set, uint64_t id)
{
    struct pending_lock pending = lock_of(id);
    size_t place = id % LOCKS_PER_STREAM_MAX;
    assert_true(lock_set_add(set, &pending) == !naive.taken[place]);
    if (naive.taken[place])
        return;
    naive.taken[place] = true;
    naive.locks[place] = pending;
    naive.count++;
}

static void remove_both(struct lock_set *set, uint64_t id)
{
    size_t place = id % LOCKS_PER_STREAM_MAX;
    bool there = naive.taken[place] && naive.locks[place].lock.id == id;
    assert_true(lock_set_remove(set, id) == there);
    if (there) {
        naive.taken[place] = false;
        naive.count--;
    }
}

static void check_root(struct lock_set *set)
{
    struct hash expected = naive_root(), root = lock_set_root(set);
    assert_memory_equal(root.bytes, expected.bytes, sizeof(root.bytes));
    assert_int_equal(lock_set_count(set), naive.count);
}

static void check_proof(struct lock_set *set, uint64_t id)
{
    struct hash proof[LOCK_TREE_DEPTH], root = lock_set_root(set);
    size_t length = 99;
    assert_true(lock_set_prove(set, id, proof, &length));
    assert_true(length <= LOCK_TREE_DEPTH);
    struct hash leaf = lock_leaf(&lock_set_find(set, id)->lock);
    assert_true(merkle_verify(&leaf, proof, length, &root));
    struct lock other = lock_set_find(set, id)->lock;
    other.amount.units++;
    leaf = lock_leaf(&other);
    assert_false(merkle_verify(&leaf, proof, length, &root));
}

static void check_everything(struct lock_set *set)
{
    check_root(set);
    for (unsigned place = 0; place < LOCKS_PER_STREAM_MAX; place++) {
        struct pending_lock *at = lock_set_at(set, place);
        assert_true((at != NULL) == naive.taken[place]);
        if (at == NULL)
            continue;
        assert_memory_equal(at, &naive.locks[place], sizeof(*at));
        assert_ptr_equal(lock_set_find(set, at->lock.id), at);
        assert_null(lock_set_find(set, at->lock.id + LOCKS_PER_STREAM_MAX));
        check_proof(set, at->lock.id);
    }
    uint64_t id = 0;
    size_t seen = 0;
    for (struct pending_lock *next; (next = lock_set_next(set, id)) != NULL; id = next->lock.id, seen++)
        assert_int_equal(next->lock.id, naive_next(id));
    assert_int_equal(naive_next(id), 0);
    assert_int_equal(seen, naive.count);
}

static struct lock_set *fresh(void)
{
    memset(&naive, 0, sizeof(naive));
    return lock_set_new();
}

static void test_no_set_is_an_empty_set(void **state)
{
    (void)state;
    struct hash root = lock_set_root(NULL), proof[LOCK_TREE_DEPTH];
    size_t length;
    assert_true(hash_is_zero(&root));
    assert_int_equal(lock_set_count(NULL), 0);
    assert_null(lock_set_find(NULL, 1));
    assert_null(lock_set_at(NULL, 0));
    assert_null(lock_set_next(NULL, 0));
    assert_false(lock_set_prove(NULL, 1, proof, &length));
    assert_int_equal(lock_set_next_id(NULL, 41), 42);
    lock_set_free(NULL);
}

static void test_one_lock_is_its_own_root(void **state)
{
    (void)state;
    struct lock_set *set = fresh();
    add_both(set, 1023);
    check_everything(set);
    struct pending_lock pending = lock_of(1023);
    struct hash root = lock_set_root(set), leaf = lock_leaf(&pending.lock);
    assert_true(hash_equal(&root, &leaf));
    remove_both(set, 1023 + 1024);
    remove_both(set, 1023);
    check_everything(set);
    root = lock_set_root(set);
    assert_true(hash_is_zero(&root));
    lock_set_free(set);
}

static void test_a_taken_place_refuses_and_changes_nothing(void **state)
{
    (void)state;
    struct lock_set *set = fresh();
    add_both(set, 7);
    struct hash before = lock_set_root(set);
    struct pending_lock same_place = lock_of(7 + LOCKS_PER_STREAM_MAX), same_id = lock_of(7);
    assert_false(lock_set_add(set, &same_place));
    assert_false(lock_set_add(set, &same_id));
    assert_false(lock_set_remove(set, same_place.lock.id));
    struct hash after = lock_set_root(set);
    assert_true(hash_equal(&before, &after));
    check_everything(set);
    lock_set_free(set);
}

/* Not part of the leaf: they may change in place, and the root does not. */
static void test_what_is_not_in_the_leaf_may_change(void **state)
{
    (void)state;
    struct lock_set *set = fresh();
    add_both(set, 3);
    struct hash before = lock_set_root(set);
    lock_set_find(set, 3)->failed = true;
    naive.locks[3].failed = true;
    add_both(set, 4);
    remove_both(set, 4);
    struct hash after = lock_set_root(set);
    assert_true(hash_equal(&before, &after));
    check_everything(set);
    lock_set_free(set);
}

static void test_removed_and_placed_again_between_roots(void **state)
{
    (void)state;
    struct lock_set *set = fresh();
    for (uint64_t id = 1; id <= 40; id++)
        add_both(set, id);
    check_root(set);
    for (uint64_t id = 1; id <= 40; id++)
        remove_both(set, id);
    for (uint64_t id = 1; id <= 40; id += 3)
        add_both(set, id + LOCKS_PER_STREAM_MAX);
    check_everything(set);
    lock_set_free(set);
}

static void test_next_id_takes_the_first_free_place(void **state)
{
    (void)state;
    struct lock_set *set = fresh();
    assert_int_equal(lock_set_next_id(set, 0), 1);
    add_both(set, 1025); /* place 1 */
    assert_int_equal(lock_set_next_id(set, 2048), 2050);
    add_both(set, 2050);
    assert_int_equal(lock_set_next_id(set, 3072), 3075);
    assert_int_equal(lock_set_next_id(set, UINT64_MAX), 0);
    assert_int_equal(lock_set_next_id(set, UINT64_MAX - 1), UINT64_MAX);
    add_both(set, UINT64_MAX);
    assert_int_equal(lock_set_next_id(set, UINT64_MAX - 1), 0);
    check_everything(set);
    lock_set_free(set);
}

static void test_a_full_set(void **state)
{
    (void)state;
    struct lock_set *set = fresh();
    uint64_t last = 5000;
    for (size_t i = 0; i < LOCKS_PER_STREAM_MAX; i++) {
        uint64_t id = lock_set_next_id(set, last);
        assert_int_equal(id, last + 1);
        add_both(set, id);
        last = id;
    }
    assert_int_equal(lock_set_next_id(set, last), 0);
    check_everything(set);
    remove_both(set, 5500);
    assert_int_equal(lock_set_next_id(set, last), 5500 + LOCKS_PER_STREAM_MAX);
    check_everything(set);
    for (uint64_t id = 5001; id <= last; id++)
        remove_both(set, id);
    check_everything(set);
    assert_int_equal(lock_set_count(set), 0);
    lock_set_free(set);
}

/* Few and many locks, near and far ids, several changes between two roots. */
static void test_random_changes(void **state)
{
    (void)state;
    random_state = 20;
    for (unsigned round = 0; round < 6; round++) {
        struct lock_set *set = fresh();
        uint64_t spread = (uint64_t[]){4, 40, 300, 1024, 5000, 1u << 30}[round];
        for (unsigned step = 0; step < 200; step++) {
            for (uint64_t changes = 1 + random_below(12); changes > 0; changes--) {
                uint64_t id = 1 + random_below(spread);
                if (random_below(5) < 3)
                    add_both(set, id);
                else
                    remove_both(set, naive.taken[id % LOCKS_PER_STREAM_MAX]
                                         ? naive.locks[id % LOCKS_PER_STREAM_MAX].lock.id
                                         : id);
            }
            if (step % 4 == 0)
                check_root(set);
        }
        check_everything(set);
        lock_set_free(set);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_set_is_an_empty_set),
        cmocka_unit_test(test_one_lock_is_its_own_root),
        cmocka_unit_test(test_a_taken_place_refuses_and_changes_nothing),
        cmocka_unit_test(test_what_is_not_in_the_leaf_may_change),
        cmocka_unit_test(test_removed_and_placed_again_between_roots),
        cmocka_unit_test(test_next_id_takes_the_first_free_place),
        cmocka_unit_test(test_a_full_set),
        cmocka_unit_test(test_random_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
