/* QR codes as SVG, around libqrencode. */
#ifndef RILL_MERCHANT_QR_H
#define RILL_MERCHANT_QR_H

#include "base/buffer.h"

/* Appends an SVG document that shows the text as a QR code (error correction level M, the quiet zone of four modules
 * that readers need, black on white whatever the page around it). It has no style and no script, so that it may stand
 * under any Content-Security-Policy. Returns false, and appends nothing, if the text is empty or longer than a QR code
 * can hold (2,331 bytes, or 3,391 of capital letters and digits; every invoice fits). */
bool qr_svg(const char *text, struct buffer *out) MUST_USE;

#endif
