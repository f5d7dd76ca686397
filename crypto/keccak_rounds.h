/* Keccak-f[1600] over KECCAK_LANE, a uint64_t or a vector of them: keccak.c includes this once for each, since C has no
 * templates. The functions are static and begin with what KECCAK_NAME puts in front; KECCAK_CODE says for which
 * processor they are. Names as in the specification (https://keccak.team/keccak_specs_summary.html): a lane of column x
 * and plane y is a[x + 5y].
 *
 * All is written out: the 25 lanes are locals only if no index is computed. */

#define MIX           KECCAK_NAME(mix)
#define ROUND         KECCAK_NAME(round)
#define KECCAK_INLINE static inline __attribute__((always_inline)) KECCAK_CODE

/* chi, of one plane. */
KECCAK_INLINE void MIX(KECCAK_LANE out[5], KECCAK_LANE b0, KECCAK_LANE b1, KECCAK_LANE b2, KECCAK_LANE b3,
                       KECCAK_LANE b4)
{
    out[0] = b0 ^ (~b1 & b2);
    out[1] = b1 ^ (~b2 & b3);
    out[2] = b2 ^ (~b3 & b4);
    out[3] = b3 ^ (~b4 & b0);
    out[4] = b4 ^ (~b0 & b1);
}

KECCAK_INLINE void ROUND(const KECCAK_LANE a[25], KECCAK_LANE out[25], uint64_t constant)
{
    KECCAK_LANE c0 = a[0] ^ a[5] ^ a[10] ^ a[15] ^ a[20], c1 = a[1] ^ a[6] ^ a[11] ^ a[16] ^ a[21],
                c2 = a[2] ^ a[7] ^ a[12] ^ a[17] ^ a[22], c3 = a[3] ^ a[8] ^ a[13] ^ a[18] ^ a[23],
                c4 = a[4] ^ a[9] ^ a[14] ^ a[19] ^ a[24];
    KECCAK_LANE d0 = c4 ^ ROTATE(c1, 1), d1 = c0 ^ ROTATE(c2, 1), d2 = c1 ^ ROTATE(c3, 1),
                d3 = c2 ^ ROTATE(c4, 1), d4 = c3 ^ ROTATE(c0, 1);
    MIX(out, a[0] ^ d0, ROTATE(a[6] ^ d1, 44), ROTATE(a[12] ^ d2, 43), ROTATE(a[18] ^ d3, 21),
        ROTATE(a[24] ^ d4, 14));
    out[0] ^= constant;
    MIX(out + 5, ROTATE(a[3] ^ d3, 28), ROTATE(a[9] ^ d4, 20), ROTATE(a[10] ^ d0, 3), ROTATE(a[16] ^ d1, 45),
        ROTATE(a[22] ^ d2, 61));
    MIX(out + 10, ROTATE(a[1] ^ d1, 1), ROTATE(a[7] ^ d2, 6), ROTATE(a[13] ^ d3, 25), ROTATE(a[19] ^ d4, 8),
        ROTATE(a[20] ^ d0, 18));
    MIX(out + 15, ROTATE(a[4] ^ d4, 27), ROTATE(a[5] ^ d0, 36), ROTATE(a[11] ^ d1, 10),
        ROTATE(a[17] ^ d2, 15), ROTATE(a[23] ^ d3, 56));
    MIX(out + 20, ROTATE(a[2] ^ d2, 62), ROTATE(a[8] ^ d3, 55), ROTATE(a[14] ^ d4, 39),
        ROTATE(a[15] ^ d0, 41), ROTATE(a[21] ^ d1, 2));
}

KECCAK_INLINE void KECCAK_NAME(rounds)(KECCAK_LANE a[25])
{
    KECCAK_LANE b[25];
    for (size_t i = 0; i < KECCAK_ROUNDS; i += 2) {
        ROUND(a, b, round_constants[i]);
        ROUND(b, a, round_constants[i + 1]);
    }
}

#undef MIX
#undef ROUND
#undef KECCAK_INLINE
#undef KECCAK_LANE
#undef KECCAK_NAME
#undef KECCAK_CODE
