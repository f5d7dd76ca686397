#include "merchant/qr.h"

#include <errno.h>
#include <qrencode.h>

#include "base/ensure.h"

#define QUIET_ZONE 4

static bool is_dark(const QRcode *code, int x, int y)
{
    return (code->data[y * code->width + x] & 1) != 0;
}

/* Each run of dark modules in a row is one stroke: a third of what a rectangle for each module would take. */
static void add_row(const QRcode *code, int y, struct buffer *out)
{
    for (int x = 0; x < code->width; x++) {
        int from = x;
        while (x < code->width && is_dark(code, x, y))
            x++;
        if (x > from)
            buffer_printf(out, "M%d %dh%dv1h-%dz", from + QUIET_ZONE, y + QUIET_ZONE, x - from, x - from);
    }
}

bool qr_svg(const char *text, struct buffer *out)
{
    /* With case kept, libqrencode itself finds the stretches that fit the denser alphanumeric mode. */
    QRcode *code = text[0] == '\0' ? NULL : QRcode_encodeString(text, 0, QR_ECLEVEL_M, QR_MODE_8, 1);
    if (code == NULL) {
        ensure(errno != ENOMEM || text[0] == '\0');
        return false;
    }
    int size = code->width + 2 * QUIET_ZONE;
    buffer_printf(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
        "shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h%dv%dH0z\"/><path d=\"",
        size, size, size * 4, size * 4, size, size);
    for (int y = 0; y < code->width; y++)
        add_row(code, y, out);
    buffer_printf(out, "\"/></svg>\n");
    QRcode_free(code);
    return true;
}
