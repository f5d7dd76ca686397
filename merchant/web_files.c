#include "merchant/web_files.h"

#include <string.h>

#include "base/bytes.h"

/* The assembler reads the file when this is compiled; make runs at the top of the tree. */
#define EMBED(symbol, path)                                                                                  \
    __asm__(".pushsection .rodata\n"                                                                         \
            "web_" #symbol "_start:\n"                                                                       \
            ".incbin \"merchant/web/" path "\"\n"                                                            \
            "web_" #symbol "_end:\n"                                                                         \
            ".popsection\n");                                                                                \
    extern const char web_##symbol##_start[] __attribute__((visibility("hidden")));                          \
    extern const char web_##symbol##_end[] __attribute__((visibility("hidden")))

EMBED(pay_html, "pay.html");
EMBED(till_html, "till.html");
EMBED(style_css, "style.css");
EMBED(texts_js, "texts.js");
EMBED(amounts_js, "amounts.js");
EMBED(common_js, "common.js");
EMBED(api_js, "api.js");
EMBED(takings_js, "takings.js");
EMBED(pay_js, "pay.js");
EMBED(till_js, "till.js");
EMBED(icon_svg, "icon.svg");

#define HTML   "text/html; charset=utf-8"
#define CSS    "text/css; charset=utf-8"
#define SCRIPT "text/javascript; charset=utf-8"
#define SVG    "image/svg+xml"

static const struct web_file files[] = {
    {"pay.html", HTML, web_pay_html_start, web_pay_html_end},
    {"till.html", HTML, web_till_html_start, web_till_html_end},
    {"style.css", CSS, web_style_css_start, web_style_css_end},
    {"texts.js", SCRIPT, web_texts_js_start, web_texts_js_end},
    {"amounts.js", SCRIPT, web_amounts_js_start, web_amounts_js_end},
    {"common.js", SCRIPT, web_common_js_start, web_common_js_end},
    {"api.js", SCRIPT, web_api_js_start, web_api_js_end},
    {"takings.js", SCRIPT, web_takings_js_start, web_takings_js_end},
    {"pay.js", SCRIPT, web_pay_js_start, web_pay_js_end},
    {"till.js", SCRIPT, web_till_js_start, web_till_js_end},
    {"icon.svg", SVG, web_icon_svg_start, web_icon_svg_end},
};

const struct web_file *web_file_at(size_t index)
{
    return index < ARRAY_LENGTH(files) ? &files[index] : NULL;
}

const struct web_file *web_file_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(files); i++)
        if (strcmp(files[i].name, name) == 0)
            return &files[i];
    return NULL;
}
