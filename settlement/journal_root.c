#include "settlement/journal_root.h"

#include "base/ensure.h"
#include "crypto/lock.h"

void journal_root_add(struct journal_root *root, const struct hash *leaf)
{
    struct hash carry = *leaf;
    unsigned bit = 0;
    for (; (root->count >> bit & 1) != 0; bit++)
        carry = merkle_node(&root->peaks[bit], &carry);
    ensure(bit < ARRAY_LENGTH(root->peaks) - 1);
    root->peaks[bit] = carry;
    root->count++;
}

/* The last, incomplete subtree is the odd node of its level: it moves up until the next larger one takes it
 * as its right neighbour. */
struct hash journal_root_value(const struct journal_root *root)
{
    struct hash value = HASH_ZERO;
    bool any = false;
    for (unsigned bit = 0; bit < ARRAY_LENGTH(root->peaks); bit++) {
        if ((root->count >> bit & 1) == 0)
            continue;
        value = any ? merkle_node(&root->peaks[bit], &value) : root->peaks[bit];
        any = true;
    }
    return value;
}

void journal_root_write(const struct journal_root *root, struct buffer *out)
{
    buffer_u64(out, root->count);
    for (unsigned bit = 0; bit < ARRAY_LENGTH(root->peaks); bit++)
        if ((root->count >> bit & 1) != 0)
            buffer_append(out, root->peaks[bit].bytes, sizeof(root->peaks[bit].bytes));
}

bool journal_root_read(struct journal_root *root, struct reader *in)
{
    root->count = reader_u64(in);
    if (root->count >> (ARRAY_LENGTH(root->peaks) - 1) != 0)
        in->ok = false; /* nobody has counted that far */
    for (unsigned bit = 0; bit < ARRAY_LENGTH(root->peaks); bit++)
        if ((root->count >> bit & 1) != 0)
            reader_copy(in, root->peaks[bit].bytes, sizeof(root->peaks[bit].bytes));
    return in->ok;
}
