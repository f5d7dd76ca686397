/* The colour a shop gives its pages, and what can be read on it. */
#ifndef RILL_MERCHANT_PAGE_COLOUR_H
#define RILL_MERCHANT_PAGE_COLOUR_H

#include "base/bytes.h"

/* True if it is '#' and six hexadecimal digits. */
bool page_colour_is_good(const char *colour) MUST_USE;
/* Text on a good colour: "#fff" or "#000", whichever has more contrast by WCAG 2's formula. That is at least 4.58:1, what AA
 * asks of text, whatever the colour. */
const char *page_colour_text_on(const char *colour);

#endif
