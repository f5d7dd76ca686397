#include "base/text.h"

#define CHARACTER_MAX 4 /* bytes */

/* Bytes of the character that begins here; 0: none does. */
static size_t character_at(const uint8_t *at, size_t left)
{
    for (size_t length = 1; length <= CHARACTER_MAX && length <= left; length++)
        if (utf8_is_valid(at, length))
            return length;
    return 0;
}

/* True if what is left is the beginning of a character, without its end. */
static bool is_cut(const uint8_t *at, size_t left)
{
    size_t wanted = at[0] > 0xf4 ? 1 : at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : at[0] >= 0xc2 ? 2 : 1;
    for (size_t i = 1; i < left; i++)
        if ((at[i] & 0xc0) != 0x80)
            return false;
    return left < wanted;
}

static bool is_control(const uint8_t *at, size_t length)
{
    if (length == 1)
        return at[0] < 0x20 || at[0] == 0x7f;
    if (length == 2) /* U+0080 to U+009F, U+061C */
        return (at[0] == 0xc2 && at[1] < 0xa0) || (at[0] == 0xd8 && at[1] == 0x9c);
    if (length != 3 || at[0] != 0xe2)
        return false;
    return (at[1] == 0x80 && (at[2] == 0x8e || at[2] == 0x8f)) || /* U+200E, U+200F */
           (at[1] == 0x80 && at[2] >= 0xa8 && at[2] <= 0xae) ||   /* U+2028 to U+202E */
           (at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xaf);     /* U+2066 to U+206F */
}

static char *make(char *text, bool is_for_people)
{
    uint8_t *bytes = (uint8_t *)text;
    size_t left = strlen(text), kept = 0;
    for (size_t at = 0; left > 0;) {
        size_t length = character_at(bytes + at, left);
        if (length == 0 && is_cut(bytes + at, left))
            break;
        size_t step = length == 0 ? 1 : length;
        if (length == 0 || (is_for_people && is_control(bytes + at, length))) {
            bytes[kept++] = '?';
        } else {
            memmove(bytes + kept, bytes + at, length);
            kept += length;
        }
        at += step;
        left -= step;
    }
    bytes[kept] = '\0';
    return text;
}

char *text_make_utf8(char *text)
{
    return make(text, false);
}

char *text_make_plain(char *text)
{
    return make(text, true);
}
