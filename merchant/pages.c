#include "merchant/pages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "crypto/hash.h"
#include "merchant/language.h"
#include "merchant/page_colour.h"
#include "merchant/qr.h"
#include "merchant/web_files.h"

#define FRAMES_MAX 512

/* default-src 'none' denies what is not named: frames, fonts, objects, workers. */
#define POLICY                                                                                               \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "          \
    "base-uri 'none'; form-action 'none'; frame-ancestors "
#define NOBODY "'none'"

/* Files may change with the next start of the daemon: kept, but asked for. An invoice's text never changes. */
#define CACHE_ASK   "no-cache"
#define CACHE_NEVER "no-store"
#define CACHE_LONG  "private, max-age=86400, immutable"

struct pages {
    char shop[PAGES_SHOP_MAX + 1];
    char policy[sizeof(POLICY) + FRAMES_MAX], till_policy[sizeof(POLICY) + sizeof(NOBODY)];
    char brand[160]; /* the text of brand.css */
    pages_lookup *lookup;
    void *context;
};

/* ---- settings ---- */

static bool shop_is_good(const char *shop)
{
    size_t length = strlen(shop);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)shop[i] < 0x20 || shop[i] == 0x7f)
            return false;
    return length <= PAGES_SHOP_MAX && utf8_is_valid((const uint8_t *)shop, length);
}

/* Nothing that could end the directive, or the header. */
static bool frames_are_good(const char *frames)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/.*'_- ";
    size_t length = strlen(frames);
    return length > 0 && length <= FRAMES_MAX && strspn(frames, good) == length;
}

static const char *settings_fault(const struct pages_settings *settings)
{
    if (!shop_is_good(settings->shop))
        return "the shop's name must be at most 64 bytes of UTF-8 in one line";
    if (!page_colour_is_good(settings->colour))
        return "the pages' colour must be '#' and six hexadecimal digits, as in #1a7f5a";
    if (!frames_are_good(settings->frame_ancestors))
        return "who may frame the payment page must be 'none', 'self' (with the quotes), or origins such as "
               "https://shop.example with spaces between them";
    return NULL;
}

struct pages *pages_new(const struct pages_settings *settings, pages_lookup *lookup, void *context,
                        char *message, size_t message_size)
{
    const char *fault = settings_fault(settings);
    if (fault != NULL) {
        snprintf(message, message_size, "%s", fault);
        return NULL;
    }
    struct pages *pages = xcalloc(1, sizeof(*pages));
    snprintf(pages->shop, sizeof(pages->shop), "%s", settings->shop);
    snprintf(pages->policy, sizeof(pages->policy), POLICY "%s", settings->frame_ancestors);
    /* The till holds a key: it is in nobody's frame, whatever the setting. */
    snprintf(pages->till_policy, sizeof(pages->till_policy), POLICY NOBODY);
    snprintf(pages->brand, sizeof(pages->brand), ":root { --accent: %s; --on-accent: %s; }\n",
             settings->colour, page_colour_text_on(settings->colour));
    pages->lookup = lookup;
    pages->context = context;
    return pages;
}

void pages_free(struct pages *pages)
{
    free(pages);
}

/* ---- answers ---- */

enum http_code { OK = 200, NOT_MODIFIED = 304, NOT_FOUND = 404, METHOD_NOT_ALLOWED = 405 };

static void add_header(struct pages_answer *answer, const char *name, const char *value)
{
    ensure(answer->header_count < PAGES_HEADERS_MAX);
    answer->headers[answer->header_count].name = name;
    answer->headers[answer->header_count++].value = value;
}

/* An answer without its body yet. */
static struct pages_answer answer_of(enum http_code code, const char *type, const char *cache,
                                     const char *policy)
{
    struct pages_answer answer = {.code = (int)code};
    add_header(&answer, "Content-Type", type);
    add_header(&answer, "Cache-Control", cache);
    add_header(&answer, "Content-Security-Policy", policy);
    add_header(&answer, "X-Content-Type-Options", "nosniff");
    add_header(&answer, "Referrer-Policy", "no-referrer");
    return answer;
}

/* Whoever has the same body already is told so. */
static void tag_body(const struct pages_request *request, struct pages_answer *answer)
{
    char digits[32 + 1];
    struct hash hash = sha256(answer->body.data, answer->body.length);
    hex_encode(hash.bytes, 16, digits);
    snprintf(answer->tag, sizeof(answer->tag), "\"%s\"", digits);
    add_header(answer, "ETag", answer->tag);
    if (request->if_none_match != NULL && strstr(request->if_none_match, answer->tag) != NULL)
        answer->code = NOT_MODIFIED;
}

static void answer_error(const struct pages *pages, struct pages_answer *out, enum http_code code,
                         const char *name, const char *text)
{
    *out = answer_of(code, "application/json", CACHE_NEVER, pages->policy);
    buffer_printf(&out->body, "{\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}\n", name, text);
}

static void answer_unknown(const struct pages *pages, struct pages_answer *out)
{
    answer_error(pages, out, NOT_FOUND, "not_found", "There is nothing here: check the address.");
}

/* ---- pages from templates ---- */

static void add_escaped(struct buffer *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            buffer_printf(out, "&amp;");
            break;
        case '<':
            buffer_printf(out, "&lt;");
            break;
        case '>':
            buffer_printf(out, "&gt;");
            break;
        case '"':
            buffer_printf(out, "&quot;");
            break;
        default:
            buffer_u8(out, (uint8_t)*text);
        }
    }
}

/* Each {{lang}}, {{shop}} and {{id}} of the file becomes its value, escaped. */
static void add_page(struct buffer *out, const struct web_file *file, const char *language, const char *shop,
                     const char *id)
{
    const struct {
        const char *mark, *value;
    } values[] = {{"{{lang}}", language}, {"{{shop}}", shop}, {"{{id}}", id}};
    for (const char *at = file->start; at < file->end; at++) {
        size_t i = 0;
        while (i < ARRAY_LENGTH(values) && ((size_t)(file->end - at) < strlen(values[i].mark) ||
                                            memcmp(at, values[i].mark, strlen(values[i].mark)) != 0))
            i++;
        if (i == ARRAY_LENGTH(values)) {
            buffer_u8(out, (uint8_t)*at);
            continue;
        }
        add_escaped(out, values[i].value);
        at += strlen(values[i].mark) - 1;
    }
}

static void answer_page(const struct pages *pages, const struct pages_request *request, enum http_code code,
                        const char *name, const char *id, struct pages_answer *out)
{
    const struct web_file *file = web_file_find(name);
    const char *policy = id[0] == '\0' ? pages->till_policy : pages->policy;
    ensure(file != NULL);
    *out = answer_of(code, file->type, CACHE_ASK, policy);
    add_header(out, "Vary", "Accept-Language");
    add_page(&out->body, file, language_choose(request->query, request->accept_language), pages->shop, id);
    if (code == OK)
        tag_body(request, out);
}

/* ---- what a payer may see ---- */

static void copy_members(json_t *to, const json_t *from, const char *const names[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json_t *value = json_object_get(from, names[i]);
        if (value != NULL)
            ensure(json_object_set(to, names[i], value) == 0);
    }
}

json_t *pages_public_invoice(const json_t *invoice, uint64_t now)
{
    static const char *const names[] = {"id",         "state",   "amount",  "amount_units", "asset",
                                        "text",       "memo",    "created", "expires",      "paid",
                                        "paid_units", "pay_url", "qr_url"};
    json_t *shown = json_object();
    ensure(shown != NULL);
    copy_members(shown, invoice, names, ARRAY_LENGTH(names));
    ensure(json_object_set_new(shown, "now", json_integer((json_int_t)now)) == 0);
    return shown;
}

static void answer_invoice(const struct pages *pages, const json_t *invoice, struct pages_answer *out)
{
    json_t *shown = pages_public_invoice(invoice, clock_unix_s());
    char *text = json_dumps(shown, JSON_COMPACT);
    ensure(text != NULL);
    *out = answer_of(OK, "application/json", CACHE_NEVER, pages->policy);
    buffer_printf(&out->body, "%s\n", text);
    free(text);
    json_decref(shown);
}

static void answer_qr(const struct pages *pages, const struct pages_request *request, const json_t *invoice,
                      struct pages_answer *out)
{
    const char *text = json_string_value(json_object_get(invoice, "text"));
    struct buffer image = {0};
    if (text == NULL || !qr_svg(text, &image)) {
        answer_unknown(pages, out);
        return;
    }
    *out = answer_of(OK, "image/svg+xml", CACHE_LONG, pages->policy);
    out->body = image;
    tag_body(request, out);
}

/* ---- which is asked for ---- */

enum pay_part { PAY_PAGE, PAY_JSON, PAY_QR, PAY_EVENTS, PAY_NOTHING };

/* "ID", "ID.json", "ID/qr.svg", "ID/events". The id is "" if it is none. */
static enum pay_part split_pay(const char *rest, char id[PAGES_ID_MAX + 1])
{
    static const struct {
        const char *tail;
        enum pay_part part;
    } tails[] = {{"", PAY_PAGE}, {".json", PAY_JSON}, {"/qr.svg", PAY_QR}, {"/events", PAY_EVENTS}};
    size_t length = strspn(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    if (length == 0 || length > PAGES_ID_MAX)
        return PAY_NOTHING;
    memcpy(id, rest, length);
    id[length] = '\0';
    for (size_t i = 0; i < ARRAY_LENGTH(tails); i++)
        if (strcmp(rest + length, tails[i].tail) == 0)
            return tails[i].part;
    return PAY_NOTHING;
}

static void answer_pay(const struct pages *pages, const struct pages_request *request, enum pay_part part,
                       const char *id, struct pages_answer *out)
{
    json_t *invoice = part == PAY_NOTHING ? NULL : pages->lookup(pages->context, id);
    if (part == PAY_PAGE) /* of an unknown invoice too: the page says so, in the reader's language */
        answer_page(pages, request, invoice == NULL ? NOT_FOUND : OK, "pay.html", id, out);
    else if (invoice == NULL)
        answer_unknown(pages, out);
    else if (part == PAY_JSON)
        answer_invoice(pages, invoice, out);
    else
        answer_qr(pages, request, invoice, out);
    json_decref(invoice);
}

static void answer_file(const struct pages *pages, const struct pages_request *request, const char *name,
                        struct pages_answer *out)
{
    const struct web_file *file = web_file_find(name);
    bool is_brand = strcmp(name, "brand.css") == 0;
    if (!is_brand && (file == NULL || strncmp(file->type, "text/html", 9) == 0)) {
        answer_unknown(pages, out);
        return;
    }
    *out = answer_of(OK, is_brand ? "text/css; charset=utf-8" : file->type, CACHE_ASK, pages->policy);
    if (is_brand)
        buffer_printf(&out->body, "%s", pages->brand);
    else
        buffer_append(&out->body, file->start, (size_t)(file->end - file->start));
    tag_body(request, out);
}

static const char *after(const char *path, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(path, prefix, length) == 0 ? path + length : NULL;
}

bool pages_answer(const struct pages *pages, const struct pages_request *request, struct pages_answer *out)
{
    const char *pay = after(request->path, "/pay/"), *file = after(request->path, "/static/");
    char id[PAGES_ID_MAX + 1] = "";
    enum pay_part part = pay == NULL ? PAY_NOTHING : split_pay(pay, id);
    bool is_till = strcmp(request->path, "/till") == 0, is_head = strcmp(request->method, "HEAD") == 0;
    if (part == PAY_EVENTS || (pay == NULL && file == NULL && !is_till))
        return false;

    if (!is_head && strcmp(request->method, "GET") != 0) {
        answer_error(pages, out, METHOD_NOT_ALLOWED, "method_not_allowed", "This can only be read: use GET.");
        add_header(out, "Allow", "GET, HEAD");
    } else if (is_till) {
        answer_page(pages, request, OK, "till.html", "", out);
    } else if (file != NULL) {
        answer_file(pages, request, file, out);
    } else {
        answer_pay(pages, request, part, id, out);
    }
    out->send_body = !is_head && out->code != NOT_MODIFIED;
    return true;
}

void pages_answer_free(struct pages_answer *answer)
{
    buffer_free(&answer->body);
}
