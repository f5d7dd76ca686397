/* Texts that strangers wrote (memos, errors of peers and servers), made fit to be kept as text or shown to people. */
#ifndef RILL_BASE_TEXT_H
#define RILL_BASE_TEXT_H

#include "base/bytes.h"

/* Both work in place, never make the text longer, and return it. */

/* For machines: bytes that are no UTF-8 become '?'; a character that the end cuts in two is left out. */
char *text_make_utf8(char *text);
/* For people: the same, and what could forge a line, move the cursor or turn the order of letters around becomes '?': the
 * control characters C0, DEL and C1, line and paragraph separators, and Unicode's marks of direction. The right way to
 * print anything that is not this program's own. */
char *text_make_plain(char *text);

#endif
