#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/ensure.h"
#include "merchant/pages.h"
#include "merchant/web_files.h"

/* One invoice, "inv_1", with all that an invoice can have. */
static json_t *look_up(void *context, const char *id)
{
    (void)context;
    if (strcmp(id, "inv_1") != 0)
        return NULL;
    return json_pack("{s:s, s:s, s:s, s:s, s:{s:s, s:i}, s:s, s:s, s:s, s:{s:s}, s:i, s:[{s:s, s:s, s:s}]}",
                     "id", id, "state", "paid", "amount", "2.5", "amount_units", "2500000", "asset", "symbol",
                     "USDT", "decimals", 6, "text", "rill:ABC", "memo", "<b>two</b>", "external_id",
                     "order of Ada", "metadata", "table", "seven", "expires", 2000, "payments", "id", "pay_1",
                     "secret", "0xreceipt", "secret_hash", "0xhash");
}

static struct pages *pages_with(const char *shop, const char *colour, const char *frames)
{
    struct pages_settings settings = {.shop = shop, .colour = colour, .frame_ancestors = frames};
    char message[256] = "";
    struct pages *pages = pages_new(&settings, look_up, NULL, message, sizeof(message));
    assert_true((pages == NULL) == (message[0] != '\0'));
    return pages;
}

static struct pages *some_pages(void)
{
    struct pages *pages = pages_with("Corner <Café> & \"Co\"", "#1d4f73", "'none'");
    assert_non_null(pages);
    return pages;
}

static const char *header_of(const struct pages_answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->header_count; i++)
        if (strcmp(answer->headers[i].name, name) == 0)
            return answer->headers[i].value;
    return "";
}

/* GET; the body ends with a NUL. */
static void get(const struct pages *pages, const char *path, struct pages_answer *answer)
{
    struct pages_request request = {.method = "GET", .path = path};
    assert_true(pages_answer(pages, &request, answer));
    assert_true(answer->send_body);
    buffer_u8(&answer->body, '\0');
}

static bool says(const struct pages_answer *answer, const char *words)
{
    return strstr((const char *)answer->body.data, words) != NULL;
}

static void test_each_path_has_its_answer(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int code;
        const char *type, *words;
    } cases[] = {
        {"/pay/inv_1", 200, "text/html; charset=utf-8", "data-id=\"inv_1\""},
        {"/pay/inv_2", 404, "text/html; charset=utf-8", "data-id=\"inv_2\""},
        {"/pay/inv_1.json", 200, "application/json", "\"amount_units\":\"2500000\""},
        {"/pay/inv_2.json", 404, "application/json", "\"code\":\"not_found\""},
        {"/pay/inv_1/qr.svg", 200, "image/svg+xml", "<svg "},
        {"/pay/inv_2/qr.svg", 404, "application/json", "\"message\":"},
        {"/till", 200, "text/html; charset=utf-8", "id=\"pad\""},
        {"/static/pay.js", 200, "text/javascript; charset=utf-8", "startLanguage"},
        {"/static/style.css", 200, "text/css; charset=utf-8", "--page"},
        {"/static/brand.css", 200, "text/css; charset=utf-8", "--accent: #1d4f73; --on-accent: #fff;"},
        {"/static/icon.svg", 200, "image/svg+xml", "<svg "},
    };
    struct pages *pages = some_pages();
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct pages_answer answer;
        get(pages, cases[i].path, &answer);
        assert_int_equal(answer.code, cases[i].code);
        assert_string_equal(header_of(&answer, "Content-Type"), cases[i].type);
        assert_true(says(&answer, cases[i].words));
        pages_answer_free(&answer);
    }
    pages_free(pages);
}

static void test_what_is_not_in_the_table_is_nothing(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "/static/",
        "/static/../pages.c",
        "/static/..%2fpages.c",
        "/static/%2e%2e/%2e%2e/etc/passwd",
        "/static//etc/passwd",
        "/static/pay.html",
        "/static/till.html",
        "/static/PAY.JS",
        "/static/pay.js/",
        "/static/pay.js%00.css",
        "/pay/",
        "/pay/inv_1/",
        "/pay/../till",
        "/pay/inv_1/qr.svgx",
        "/pay/inv_1.jsonx",
        "/pay/inv%5f1",
        "/pay/inv_1/../inv_1",
        "/pay/inv 1",
        "/pay/<script>",
        "/pay/0123456789012345678901234567890123456789012345678901234567890123x",
    };
    struct pages *pages = some_pages();
    for (size_t i = 0; i < ARRAY_LENGTH(paths); i++) {
        struct pages_answer answer;
        get(pages, paths[i], &answer);
        assert_int_equal(answer.code, 404);
        assert_string_equal(header_of(&answer, "Content-Type"), "application/json");
        pages_answer_free(&answer);
    }
    pages_free(pages);
}

static void test_other_paths_are_left_to_others(void **state)
{
    (void)state;
    static const char *const paths[] = {"/",      "",        "/v1/invoices",      "/pay",
                                        "/tillx", "/static", "/pay/inv_1/events", "/pay/inv_2/events"};
    struct pages *pages = some_pages();
    for (size_t i = 0; i < ARRAY_LENGTH(paths); i++) {
        struct pages_request request = {.method = "GET", .path = paths[i]};
        struct pages_answer answer;
        assert_false(pages_answer(pages, &request, &answer));
    }
    pages_free(pages);
}

static void test_every_answer_has_the_strict_headers(void **state)
{
    (void)state;
    static const char *const paths[] = {"/pay/inv_1", "/pay/inv_2", "/pay/inv_1.json", "/pay/inv_1/qr.svg",
                                        "/till",      "/static/x",  "/static/till.js"};
    struct pages *pages = pages_with("", "#1d4f73", "'self' https://shop.example");
    assert_non_null(pages);
    for (size_t i = 0; i < ARRAY_LENGTH(paths); i++) {
        struct pages_answer answer;
        get(pages, paths[i], &answer);
        const char *policy = header_of(&answer, "Content-Security-Policy");
        assert_ptr_equal(strstr(policy, "default-src 'none'; script-src 'self'; style-src 'self'; "), policy);
        assert_null(strstr(policy, "unsafe"));
        assert_string_equal(strstr(policy, "frame-ancestors"),
                            strcmp(paths[i], "/till") == 0 ? "frame-ancestors 'none'"
                                                           : "frame-ancestors 'self' https://shop.example");
        assert_string_equal(header_of(&answer, "X-Content-Type-Options"), "nosniff");
        assert_string_equal(header_of(&answer, "Referrer-Policy"), "no-referrer");
        pages_answer_free(&answer);
    }
    pages_free(pages);
}

static void test_no_page_has_anything_inline(void **state)
{
    (void)state;
    static const char *const pages_of[] = {"/pay/inv_1", "/till"};
    struct pages *pages = some_pages();
    for (size_t i = 0; i < ARRAY_LENGTH(pages_of); i++) {
        struct pages_answer answer;
        get(pages, pages_of[i], &answer);
        assert_false(says(&answer, "<style"));
        assert_false(says(&answer, " style="));
        assert_false(says(&answer, " onclick"));
        assert_false(says(&answer, "javascript:"));
        assert_false(says(&answer, "<script>"));
        assert_false(says(&answer, "http:"));
        assert_false(says(&answer, "https:"));
        pages_answer_free(&answer);
    }
    pages_free(pages);
}

/* What a server or a person wrote goes onto a page as text, or not at all. */
static void test_no_script_writes_html(void **state)
{
    (void)state;
    static const char *const banned[] = {"innerHTML", "outerHTML",    "insertAdjacentHTML", "document.write",
                                         "eval(",     "new Function", "parseFloat",         "Number("};
    const struct web_file *file;
    size_t scripts = 0;
    for (size_t i = 0; (file = web_file_at(i)) != NULL; i++) {
        assert_ptr_equal(web_file_find(file->name), file);
        size_t length = (size_t)(file->end - file->start);
        assert_true(length > 0);
        if (strncmp(file->type, "text/javascript", 15) != 0)
            continue;
        scripts++;
        for (size_t j = 0; j < ARRAY_LENGTH(banned); j++)
            assert_null(memmem(file->start, length, banned[j], strlen(banned[j])));
    }
    assert_true(scripts >= 4);
    assert_null(web_file_find("nothing.js"));
}

static void test_the_shops_name_is_escaped(void **state)
{
    (void)state;
    struct pages *pages = some_pages();
    struct pages_answer answer;
    get(pages, "/till", &answer);
    assert_true(says(&answer, "<title>Corner &lt;Café&gt; &amp; &quot;Co&quot;</title>"));
    assert_false(says(&answer, "<Café>"));
    assert_false(says(&answer, "{{"));
    pages_answer_free(&answer);
    pages_free(pages);
}

static void test_a_payer_sees_no_secret_of_the_shop(void **state)
{
    (void)state;
    struct pages *pages = some_pages();
    struct pages_answer answer;
    get(pages, "/pay/inv_1.json", &answer);
    assert_true(says(&answer, "\"now\":"));
    assert_false(says(&answer, "receipt"));
    assert_false(says(&answer, "payments"));
    assert_false(says(&answer, "metadata"));
    assert_false(says(&answer, "external_id"));
    assert_string_equal(header_of(&answer, "Cache-Control"), "no-store");
    pages_answer_free(&answer);
    pages_free(pages);
}

static void test_what_is_known_is_not_sent_again(void **state)
{
    (void)state;
    static const char *const paths[] = {"/pay/inv_1", "/till", "/pay/inv_1/qr.svg", "/static/pay.js",
                                        "/static/brand.css"};
    struct pages *pages = some_pages();
    for (size_t i = 0; i < ARRAY_LENGTH(paths); i++) {
        struct pages_answer first, again;
        char tags[64];
        get(pages, paths[i], &first);
        snprintf(tags, sizeof(tags), "\"other\", W/%s", header_of(&first, "ETag"));
        struct pages_request request = {.method = "GET", .path = paths[i], .if_none_match = tags};
        assert_true(pages_answer(pages, &request, &again));
        assert_int_equal(again.code, 304);
        assert_false(again.send_body);
        pages_answer_free(&again);
        request.if_none_match = "\"other\"";
        assert_true(pages_answer(pages, &request, &again));
        assert_int_equal(again.code, 200);
        pages_answer_free(&again);
        pages_answer_free(&first);
    }
    pages_free(pages);
}

static void test_the_language_is_in_the_page_and_its_tag(void **state)
{
    (void)state;
    struct pages *pages = some_pages();
    struct pages_request request = {.method = "GET", .path = "/till", .accept_language = "zh-CN"};
    struct pages_answer english, chinese;
    get(pages, "/till", &english);
    assert_true(pages_answer(pages, &request, &chinese));
    buffer_u8(&chinese.body, '\0');
    assert_true(says(&english, "<html lang=\"en\">"));
    assert_true(says(&chinese, "<html lang=\"zh\">"));
    assert_string_not_equal(english.tag, chinese.tag);
    assert_string_equal(header_of(&chinese, "Vary"), "Accept-Language");
    pages_answer_free(&english);
    pages_answer_free(&chinese);
    pages_free(pages);
}

static void test_pages_can_only_be_read(void **state)
{
    (void)state;
    static const char *const methods[] = {"POST", "PUT", "DELETE", "", "get"};
    struct pages *pages = some_pages();
    struct pages_answer answer;
    for (size_t i = 0; i < ARRAY_LENGTH(methods); i++) {
        struct pages_request request = {.method = methods[i], .path = "/pay/inv_1"};
        assert_true(pages_answer(pages, &request, &answer));
        assert_int_equal(answer.code, 405);
        assert_string_equal(header_of(&answer, "Allow"), "GET, HEAD");
        pages_answer_free(&answer);
    }
    struct pages_request head = {.method = "HEAD", .path = "/pay/inv_1"};
    assert_true(pages_answer(pages, &head, &answer));
    assert_int_equal(answer.code, 200);
    assert_false(answer.send_body);
    pages_answer_free(&answer);
    pages_free(pages);
}

static void test_wrong_settings_are_refused(void **state)
{
    (void)state;
    static const char *const frames[] = {"", "'none'; script-src *", "'none'\r\nX: y", "https://a,https://b",
                                         "\"none\""};
    char longest[PAGES_SHOP_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    longest[PAGES_SHOP_MAX + 1] = '\0';
    assert_null(pages_with(longest, "#1d4f73", "'none'"));
    assert_null(pages_with("a\nb", "#1d4f73", "'none'"));
    assert_null(pages_with("\xff", "#1d4f73", "'none'"));
    assert_null(pages_with("Shop", "red", "'none'"));
    for (size_t i = 0; i < ARRAY_LENGTH(frames); i++)
        assert_null(pages_with("Shop", "#1d4f73", frames[i]));
    longest[PAGES_SHOP_MAX] = '\0';
    struct pages *pages = pages_with(longest, "#1d4f73", "'none'");
    assert_non_null(pages);
    pages_free(pages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_path_has_its_answer),
        cmocka_unit_test(test_what_is_not_in_the_table_is_nothing),
        cmocka_unit_test(test_other_paths_are_left_to_others),
        cmocka_unit_test(test_every_answer_has_the_strict_headers),
        cmocka_unit_test(test_no_page_has_anything_inline),
        cmocka_unit_test(test_no_script_writes_html),
        cmocka_unit_test(test_the_shops_name_is_escaped),
        cmocka_unit_test(test_a_payer_sees_no_secret_of_the_shop),
        cmocka_unit_test(test_what_is_known_is_not_sent_again),
        cmocka_unit_test(test_the_language_is_in_the_page_and_its_tag),
        cmocka_unit_test(test_pages_can_only_be_read),
        cmocka_unit_test(test_wrong_settings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
