/* link: clients_bench */
/* What the load generator reads from a server it does not know: an HTTP/1.1 answer, the event
 * stream in its body, the JSON in its events. The first byte chooses the size of the pieces. What
 * must hold: progress with each call, body pieces inside the input, and the same body and the same
 * events whatever the pieces. */
#include <stdlib.h>
#include <string.h>

#include "clients/bench/http_response.h"
#include "clients/bench/openai.h"
#include "clients/bench/prometheus.h"
#include "clients/bench/sse.h"
#include "memory/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t body, events; /* hashes */
    int status;
    bool bad;
};

static uint64_t mix(uint64_t hash, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ p[i]) * 1099511628211u;
    return hash;
}

static void read_event(const char *text, size_t bytes)
{
    for (int chat = 0; chat < 2; chat++) {
        struct openai_chunk chunk;
        struct fault why = {{0}};
        bool ok = openai_chunk_open(text, bytes, chat, &chunk, &why);
        CHECK(ok == (why.text[0] == '\0'));
        CHECK(!chunk.content || chunk.answer);
        openai_chunk_close(&chunk);
    }
}

static void read_body(struct sse *sse, const char *text, size_t size, struct seen *out)
{
    out->body = mix(out->body, text, size);
    while (size > 0 && !out->bad) {
        size_t used, bytes;
        const char *event;
        enum sse_status status = sse_feed(sse, text, size, &used, &event, &bytes);
        CHECK(used > 0 && used <= size);
        out->bad |= status == SSE_BAD;
        if (status == SSE_EVENT) {
            out->events = mix(out->events, event, bytes) * 31 + bytes;
            read_event(event, bytes);
        }
        text += used;
        size -= used;
    }
}

static struct seen read_answer(const uint8_t *data, size_t size, size_t step)
{
    struct http_response *response = malloc(sizeof *response);
    struct seen out = {.body = 1469598103934665603u, .events = 1};
    struct sse sse;
    CHECK(response);
    http_response_init(response);
    sse_init(&sse);
    for (size_t at = 0; at < size;) {
        size_t piece = size - at < step ? size - at : step, used, bytes = 0;
        const uint8_t *body = NULL;
        enum http_response_event event =
            http_response_feed(response, data + at, piece, &used, &body, &bytes);
        CHECK(used <= piece);
        if (event == HTTP_RESPONSE_BAD || event == HTTP_RESPONSE_END) {
            out.bad |= event == HTTP_RESPONSE_BAD;
            break;
        }
        CHECK(used > 0);
        if (event == HTTP_RESPONSE_BODY) {
            CHECK(body >= data + at && body + bytes <= data + at + piece && bytes > 0);
            read_body(&sse, (const char *)body, bytes, &out);
        }
        at += used;
    }
    out.status = response->status;
    sse_close(&sse);
    free(response);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    size_t step = data[0] % 61 + 1u;
    struct seen cut = read_answer(data + 1, size - 1, step);
    struct seen again = read_answer(data + 1, size - 1, 1);
    CHECK(cut.status == again.status && cut.bad == again.bad && cut.body == again.body &&
          cut.events == again.events);
    struct prometheus page;
    if (prometheus_open(&page, (const char *)data, size))
        prometheus_close(&page);
    struct fault why = {{0}};
    free(openai_first_model((const char *)data, size, &why));
    return 0;
}
