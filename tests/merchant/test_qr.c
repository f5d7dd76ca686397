#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <qrencode.h>

#include "merchant/qr.h"

#define SIDE_MAX 200

/* The modules that an SVG of qr_svg draws; false if it has anything else in it. */
static bool drawn_modules(const char *svg, int *side, bool modules[SIDE_MAX][SIDE_MAX])
{
    memset(modules, 0, sizeof(bool) * SIDE_MAX * SIDE_MAX);
    const char *at = strstr(svg, "<path d=\"");
    if (sscanf(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d", side) != 1 || at == NULL)
        return false;
    int x, y, width, back, length;
    for (at += strlen("<path d=\""); sscanf(at, "M%d %dh%dv1h-%dz%n", &x, &y, &width, &back, &length) == 4;
         at += length)
        for (int i = 0; i < width; i++)
            modules[y][x + i] = width == back;
    return strcmp(at, "\"/></svg>\n") == 0;
}

static void draws(const char *text)
{
    static bool modules[SIDE_MAX][SIDE_MAX];
    struct buffer svg = {0};
    int side;
    assert_true(qr_svg(text, &svg));
    buffer_u8(&svg, '\0');
    assert_true(drawn_modules((char *)svg.data, &side, modules));
    QRcode *code = QRcode_encodeString(text, 0, QR_ECLEVEL_M, QR_MODE_8, 1);
    assert_non_null(code);
    assert_int_equal(side, code->width + 8);
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++) {
            bool inside = x >= 4 && y >= 4 && x < side - 4 && y < side - 4;
            bool dark = inside && (code->data[(y - 4) * code->width + x - 4] & 1) != 0;
            assert_int_equal(modules[y][x], dark);
        }
    QRcode_free(code);
    buffer_free(&svg);
}

static void test_every_module_is_drawn_and_no_other(void **state)
{
    (void)state;
    draws("a");
    draws("rill:ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
    char text[2048] = "rill:";
    memset(text + 5, 'Q', 2000);
    draws(text);
}

static void test_an_invoice_is_packed_densely(void **state)
{
    (void)state;
    char text[406] = "rill:";
    memset(text + 5, 'Q', 400);
    struct buffer svg = {0};
    int side;
    assert_true(qr_svg(text, &svg));
    buffer_u8(&svg, '\0');
    assert_int_equal(
        sscanf((char *)svg.data, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d", &side), 1);
    assert_int_equal(side, 65 + 8); /* version 12; as bytes it would be version 16, 81 modules */
    buffer_free(&svg);
}

static void test_what_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct buffer svg = {0};
    char *text = calloc(1, 4000);
    assert_non_null(text);
    assert_false(qr_svg("", &svg));
    memset(text, 'a', 2332);
    assert_false(qr_svg(text, &svg));
    assert_int_equal(svg.length, 0);
    text[2331] = '\0';
    assert_true(qr_svg(text, &svg));
    memset(text, 'A', 3392);
    assert_false(qr_svg(text, &svg));
    text[3391] = '\0';
    assert_true(qr_svg(text, &svg));
    free(text);
    buffer_free(&svg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_module_is_drawn_and_no_other),
        cmocka_unit_test(test_an_invoice_is_packed_densely),
        cmocka_unit_test(test_what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
