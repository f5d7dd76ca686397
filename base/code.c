#include "base/code.h"

#include <stddef.h>

#include "base/bytes.h"

static const struct {
    uint64_t number;
    const char *name;
    const char *text;
} table[] = {
#define CODE_ROW(number, name, text) {number, #name, text},
    CODES(CODE_ROW)
#undef CODE_ROW
};

const char *code_name(uint64_t code)
{
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++)
        if (table[i].number == code)
            return table[i].name;
    return "UNKNOWN";
}

const char *code_text(uint64_t code)
{
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++)
        if (table[i].number == code)
            return table[i].text;
    return "a code this version does not know";
}
