#include "crypto/keccak.h"

#include <nettle/sha3.h>
#include <string.h>

#include "base/ensure.h"

#define LANES         25
#define KECCAK_ROUNDS 24

static inline uint64_t lane_of(const uint8_t *bytes)
{
    uint64_t lane;
    memcpy(&lane, bytes, sizeof(lane));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    lane = __builtin_bswap64(lane);
#endif
    return lane;
}

/* The first 32 bytes of a state whose lanes lie `step` apart. */
static struct hash squeeze(const uint64_t *state, size_t step)
{
    struct hash out;
    for (size_t i = 0; i < sizeof(out.bytes) / 8; i++) {
        uint64_t lane = lane_of((const uint8_t *)&state[i * step]);
        memcpy(out.bytes + 8 * i, &lane, sizeof(lane));
    }
    return out;
}

/* The last block: what is left of the input, and Ethereum's padding. */
static void pad(uint8_t block[KECCAK_RATE], size_t filled)
{
    memset(block + filled, 0, KECCAK_RATE - filled);
    block[filled] ^= 0x01;
    block[KECCAK_RATE - 1] ^= 0x80;
}

/* ---- the permutations ---- */

#if defined(__x86_64__)
#define ROTATE(lane, by) ((lane) << (by) | (lane) >> (64 - (by)))

static const uint64_t round_constants[KECCAK_ROUNDS] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000, 0x000000000000808b,
    0x0000000080000001, 0x8000000080008081, 0x8000000000008009, 0x000000000000008a, 0x0000000000000088,
    0x0000000080008009, 0x000000008000000a, 0x000000008000808b, 0x800000000000008b, 0x8000000000008089,
    0x8000000000008003, 0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008};

typedef uint64_t four_lanes __attribute__((vector_size(8 * KECCAK_FOUR)));

#define KECCAK_LANE       uint64_t
#define KECCAK_NAME(name) one_##name
#define KECCAK_CODE       __attribute__((target("bmi,bmi2")))
#include "crypto/keccak_rounds.h"

#define KECCAK_LANE       four_lanes
#define KECCAK_NAME(name) four_##name
#define KECCAK_CODE       __attribute__((target("avx2")))
#include "crypto/keccak_rounds.h"

__attribute__((target("bmi,bmi2"))) static void permute_fast(uint64_t state[LANES])
{
    uint64_t a[LANES];
    memcpy(a, state, sizeof(a));
    one_rounds(a);
    memcpy(state, a, sizeof(a));
}

/* Takes a block into each of four states, first clearing those whose `keep` is 0 (else it is all ones). */
__attribute__((target("avx2"))) static void
absorb_four(four_lanes state[LANES], const uint8_t *const blocks[KECCAK_FOUR], const four_lanes *keep)
{
    four_lanes a[LANES];
    for (size_t i = 0; i < LANES; i++)
        a[i] = state[i] & *keep;
    for (size_t i = 0; i < KECCAK_RATE / 8; i++)
        a[i] ^= (four_lanes){lane_of(blocks[0] + 8 * i), lane_of(blocks[1] + 8 * i),
                             lane_of(blocks[2] + 8 * i), lane_of(blocks[3] + 8 * i)};
    four_rounds(a);
    memcpy(state, a, sizeof(a));
}

enum keccak_way keccak_way(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")
               ? KECCAK_FAST
               : KECCAK_PORTABLE;
}
#else
enum keccak_way keccak_way(void)
{
    return KECCAK_PORTABLE;
}
#endif

/* ---- one input ---- */

/* The sponge: Debian has no library with Ethereum's keccak (padding 0x01, where SHA3 has 0x06), so these lines are
 * ours; tests hold them to vectors at every length around the rate. */
struct sponge {
    struct sha3_state state;
    enum keccak_way way;
    uint8_t block[KECCAK_RATE];
    size_t filled;
};

_Static_assert(sizeof(((struct sha3_state *)0)->a) == LANES * sizeof(uint64_t),
               "nettle's state is the lanes");

static void absorb_block(struct sponge *sponge, const uint8_t *block)
{
    for (size_t i = 0; i < KECCAK_RATE / 8; i++)
        sponge->state.a[i] ^= lane_of(block + 8 * i);
#if defined(__x86_64__)
    if (sponge->way == KECCAK_FAST) {
        permute_fast(sponge->state.a);
        return;
    }
#endif
    sha3_permute(&sponge->state);
}

static void absorb(struct sponge *sponge, const uint8_t *data, size_t length)
{
    while (length > 0) {
        if (sponge->filled == 0 && length >= KECCAK_RATE) {
            absorb_block(sponge, data);
            data += KECCAK_RATE;
            length -= KECCAK_RATE;
            continue;
        }
        size_t part = KECCAK_RATE - sponge->filled < length ? KECCAK_RATE - sponge->filled : length;
        memcpy(sponge->block + sponge->filled, data, part);
        sponge->filled += part;
        data += part;
        length -= part;
        if (sponge->filled == KECCAK_RATE) {
            absorb_block(sponge, sponge->block);
            sponge->filled = 0;
        }
    }
}

static struct hash finish(struct sponge *sponge)
{
    pad(sponge->block, sponge->filled);
    absorb_block(sponge, sponge->block);
    return squeeze(sponge->state.a, 1);
}

struct hash keccak_pair(enum keccak_way way, const void *a, size_t a_length, const void *b, size_t b_length)
{
    struct sponge sponge;
    memset(&sponge.state, 0, sizeof(sponge.state));
    sponge.way = way;
    sponge.filled = 0;
    absorb(&sponge, a, a_length);
    absorb(&sponge, b, b_length);
    return finish(&sponge);
}

/* ---- many ---- */

#if defined(__x86_64__)
/* One of the four places: each takes the next input when its own has ended, whatever their lengths. */
struct place {
    const uint8_t *at; /* NULL: empty */
    size_t left;
    bool ends; /* the block it has given is its last */
    struct hash *out;
    uint8_t last[KECCAK_RATE];
};

struct work {
    four_lanes state[LANES];
    four_lanes keep;
    struct place places[KECCAK_FOUR];
    const struct hash_input *inputs;
    struct hash *out;
    size_t next, count, under_way;
};

static void begin(struct work *work, size_t number)
{
    struct place *place = &work->places[number];
    work->keep[number] = 0;
    place->at = NULL;
    if (work->next == work->count)
        return;
    const struct hash_input *input = &work->inputs[work->next];
    place->at = input->length == 0 ? place->last : input->data;
    place->left = input->length;
    place->ends = false;
    place->out = &work->out[work->next++];
    work->under_way++;
}

static const uint8_t *next_block(struct place *place)
{
    if (place->left >= KECCAK_RATE) {
        const uint8_t *block = place->at;
        place->at += KECCAK_RATE;
        place->left -= KECCAK_RATE;
        return block;
    }
    memcpy(place->last, place->at, place->left);
    pad(place->last, place->left);
    place->ends = true;
    return place->last;
}

static void step(struct work *work)
{
    static const uint8_t nothing[KECCAK_RATE];
    const uint8_t *blocks[KECCAK_FOUR];
    for (size_t i = 0; i < KECCAK_FOUR; i++)
        blocks[i] = work->places[i].at == NULL ? nothing : next_block(&work->places[i]);
    absorb_four(work->state, blocks, &work->keep);
    for (size_t i = 0; i < KECCAK_FOUR; i++) {
        struct place *place = &work->places[i];
        work->keep[i] = UINT64_MAX;
        if (place->at == NULL || !place->ends)
            continue;
        *place->out = squeeze((const uint64_t *)work->state + i, KECCAK_FOUR);
        work->under_way--;
        begin(work, i);
    }
}

/* The last one goes on alone: three empty places would cost it a third more. */
static void finish_last(const struct work *work)
{
    for (size_t i = 0; i < KECCAK_FOUR; i++) {
        const struct place *place = &work->places[i];
        if (place->at == NULL)
            continue;
        struct sponge sponge = {.way = KECCAK_FAST};
        for (size_t lane = 0; lane < LANES; lane++)
            sponge.state.a[lane] = work->state[lane][i] & work->keep[i];
        absorb(&sponge, place->at, place->left);
        *place->out = finish(&sponge);
    }
}

static void many_fast(const struct hash_input *inputs, size_t count, struct hash *out)
{
    struct work work;
    memset(work.state, 0, sizeof(work.state));
    work.inputs = inputs;
    work.out = out;
    work.next = work.under_way = 0;
    work.count = count;
    for (size_t i = 0; i < KECCAK_FOUR; i++)
        begin(&work, i);
    while (work.under_way > 1)
        step(&work);
    if (work.under_way == 1)
        finish_last(&work);
}
#endif

void keccak_many(enum keccak_way way, const struct hash_input *inputs, size_t count, struct hash *out)
{
#if defined(__x86_64__)
    if (way == KECCAK_FAST) {
        many_fast(inputs, count, out);
        return;
    }
#endif
    for (size_t i = 0; i < count; i++)
        out[i] = keccak_pair(way, inputs[i].data, inputs[i].length, NULL, 0);
}
