/* The pages behind libevent's HTTP server. */
#include <event2/buffer.h>
#include <event2/http.h>
#include <stdio.h>

#include "base/ensure.h"
#include "merchant/pages.h"

static const char *method_of(const struct evhttp_request *request)
{
    switch (evhttp_request_get_command(request)) {
    case EVHTTP_REQ_GET:
        return "GET";
    case EVHTTP_REQ_HEAD:
        return "HEAD";
    case EVHTTP_REQ_POST:
    case EVHTTP_REQ_PUT:
    case EVHTTP_REQ_DELETE:
    case EVHTTP_REQ_OPTIONS:
    case EVHTTP_REQ_TRACE:
    case EVHTTP_REQ_CONNECT:
    case EVHTTP_REQ_PATCH:
        break;
    }
    return "";
}

bool pages_serve(const struct pages *pages, struct evhttp_request *request)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
    struct evkeyvalq *in = evhttp_request_get_input_headers(request);
    struct evkeyvalq *out = evhttp_request_get_output_headers(request);
    const char *path = evhttp_uri_get_path(uri);
    struct pages_request asked = {.method = method_of(request),
                                  .path = path == NULL ? "" : path,
                                  .query = evhttp_uri_get_query(uri),
                                  .accept_language = evhttp_find_header(in, "Accept-Language"),
                                  .if_none_match = evhttp_find_header(in, "If-None-Match")};
    struct pages_answer answer;
    if (!pages_answer(pages, &asked, &answer))
        return false;

    for (size_t i = 0; i < answer.header_count; i++)
        evhttp_add_header(out, answer.headers[i].name, answer.headers[i].value);
    char length[24];
    snprintf(length, sizeof(length), "%zu", answer.body.length);
    if (answer.code != HTTP_NOTMODIFIED)
        evhttp_add_header(out, "Content-Length", length);
    struct evbuffer *body = evbuffer_new();
    ensure(body != NULL);
    if (answer.send_body)
        ensure(evbuffer_add(body, answer.body.data, answer.body.length) == 0);
    evhttp_send_reply(request, answer.code, NULL, body);
    evbuffer_free(body);
    pages_answer_free(&answer);
    return true;
}
