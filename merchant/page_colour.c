#include "merchant/page_colour.h"

#include <math.h>
#include <string.h>

#include "base/ensure.h"

bool page_colour_is_good(const char *colour)
{
    return strlen(colour) == 7 && colour[0] == '#' && strspn(colour + 1, "0123456789abcdefABCDEF") == 6;
}

/* A channel of sRGB as light. */
static double linear(uint8_t channel)
{
    double value = channel / 255.0;
    return value <= 0.04045 ? value / 12.92 : pow((value + 0.055) / 1.055, 2.4);
}

const char *page_colour_text_on(const char *colour)
{
    uint8_t rgb[3];
    ensure(hex_decode(colour + 1, rgb, sizeof(rgb)));
    double light = 0.2126 * linear(rgb[0]) + 0.7152 * linear(rgb[1]) + 0.0722 * linear(rgb[2]);
    double with_white = 1.05 / (light + 0.05), with_black = (light + 0.05) / 0.05;
    return with_white >= with_black ? "#fff" : "#000";
}
