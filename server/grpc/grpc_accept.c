/* How a call begins: the table of ids, the method behind a path, and what the headers of a request
 * must say before a handler hears of it. See grpc_call.h; grpc_call.c takes over from `open`. */
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "server/grpc/grpc_call.h"
#include "server/net/api_keys.h"

enum { BUCKETS_FIRST = 64 };

/* ---- the table ---- */

static int method_compare(const void *a, const void *b)
{
    return strcmp(((const struct grpc_method *)a)->path, ((const struct grpc_method *)b)->path);
}

enum status grpc_calls_open(struct grpc_calls *calls, struct event_base *base,
                            const struct grpc_limits *limits, const struct grpc_method *methods,
                            size_t method_count, struct error *error)
{
    *calls = (struct grpc_calls){.base = base, .limits = *limits, .method_count = method_count};
    calls->methods = calloc(method_count + 1, sizeof *calls->methods);
    calls->buckets = calloc(BUCKETS_FIRST, sizeof *calls->buckets);
    if (!calls->methods || !calls->buckets)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the table of calls");
    calls->bucket_count = BUCKETS_FIRST;
    if (method_count)
        memcpy(calls->methods, methods, method_count * sizeof *methods);
    qsort(calls->methods, method_count, sizeof *methods, method_compare);
    for (size_t i = 1; i < method_count; i++)
        if (method_compare(&calls->methods[i - 1], &calls->methods[i]) == 0)
            return error_set(error, STATUS_INVALID, "two methods are called %s",
                             calls->methods[i].path);
    return STATUS_OK;
}

void grpc_calls_close(struct grpc_calls *calls)
{
    CHECK_MSG(calls->count == 0, "%u calls are open", calls->count);
    free(calls->methods);
    free(calls->buckets);
    *calls = (struct grpc_calls){0};
}

static struct grpc_call_list *bucket_of(const struct grpc_calls *calls, uint64_t id)
{
    return &calls->buckets[id & (calls->bucket_count - 1)];
}

/* Ids are consecutive, so the low bits spread them evenly. Growing is a convenience: without memory
 * for it the lists get longer. */
static void buckets_grow(struct grpc_calls *calls)
{
    uint32_t old_count = calls->bucket_count;
    struct grpc_call_list *old = calls->buckets;
    struct grpc_call_list *buckets = calloc(2 * (size_t)old_count, sizeof *buckets);
    if (!buckets)
        return;
    calls->buckets = buckets;
    calls->bucket_count = 2 * old_count;
    for (uint32_t i = 0; i < old_count; i++) {
        struct grpc_call *call;
        while ((call = LIST_FIRST(&old[i]))) {
            LIST_REMOVE(call, in_bucket);
            LIST_INSERT_HEAD(bucket_of(calls, call->id), call, in_bucket);
        }
    }
    free(old);
}

struct grpc_call *grpc_calls_find(const struct grpc_calls *calls, uint64_t id)
{
    struct grpc_call *call;
    LIST_FOREACH(call, bucket_of(calls, id), in_bucket)
        if (call->id == id)
            return call->opened && !call->over ? call : NULL;
    return NULL;
}

struct grpc_call *grpc_call_begin(struct grpc_calls *calls, struct http2_stream *stream,
                                  const char *peer)
{
    struct grpc_call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    call->id = ++calls->last_id;
    call->calls = calls;
    call->stream = stream;
    call->peer = peer;
    if (calls->count >= calls->bucket_count)
        buckets_grow(calls);
    LIST_INSERT_HEAD(bucket_of(calls, call->id), call, in_bucket);
    calls->count++;
    return call;
}

/* ---- headers ---- */

void grpc_call_on_field(void *arg, const struct http2_field *field)
{
    struct grpc_call *call = arg;
    enum status status = grpc_metadata_receive(&call->request, field->name, field->name_bytes,
                                               field->value, field->value_bytes);
    call->bad_metadata = call->bad_metadata || status == STATUS_INVALID;
    call->no_memory = call->no_memory || status == STATUS_NO_MEMORY;
}

static bool header_is(const struct grpc_call *call, const char *name, const char *value)
{
    size_t bytes;
    const char *text = grpc_metadata_find(&call->request, name, 0, &bytes);
    return text && bytes == strlen(value) && memcmp(text, value, bytes) == 0;
}

/* A plain HTTP answer for what is not gRPC at all. */
static void call_refuse_http(struct grpc_call *call, const char *code, const char *allow)
{
    struct http2_field fields[2] = {{":status", strlen(":status"), code, strlen(code)},
                                    {"allow", strlen("allow"), allow, allow ? strlen(allow) : 0}};
    call->finished = true;
    call->headers_sent = true;
    if (http2_stream_respond(call->stream, fields, allow ? 2 : 1, true) != STATUS_OK)
        http2_stream_reset(call->stream, HTTP2_INTERNAL_ERROR);
}

/* False: answered with an HTTP status. */
static bool http_check(struct grpc_call *call)
{
    size_t bytes;
    const char *type = grpc_metadata_find(&call->request, "content-type", 0, &bytes);
    if (!header_is(call, ":method", "POST"))
        call_refuse_http(call, "405", "POST");
    else if (!type || !grpc_content_type_ok(type, bytes))
        call_refuse_http(call, "415", NULL);
    return !call->finished;
}

static enum status encoding_find(struct grpc_call *call, enum grpc_encoding *out)
{
    *out = GRPC_ENCODING_NONE;
    if (!grpc_metadata_find(&call->request, "grpc-encoding", 0, NULL))
        return STATUS_OK;
    if (header_is(call, "grpc-encoding", "gzip"))
        *out = GRPC_ENCODING_GZIP;
    else if (header_is(call, "grpc-encoding", "identity"))
        *out = GRPC_ENCODING_IDENTITY;
    else
        return STATUS_UNSUPPORTED;
    return STATUS_OK;
}

/* UNIMPLEMENTED says whether the service or only the method is unknown. The path is the client's
 * text, so it is not repeated. */
static const char *path_unknown(const struct grpc_calls *calls, const char *path)
{
    const char *slash = *path == '/' ? strchr(path + 1, '/') : NULL;
    if (!slash)
        return "the path is not /package.Service/Method";
    size_t bytes = (size_t)(slash - path) + 1;
    for (size_t i = 0; i < calls->method_count; i++)
        if (strncmp(calls->methods[i].path, path, bytes) == 0)
            return "unknown method";
    return "unknown service";
}

/* Without a right key nothing is told, not even which methods there are. */
static bool key_check(const struct grpc_call *call)
{
    const struct grpc_calls *calls = call->calls;
    if (!calls->keys || (call->method && call->method->is_public))
        return true;
    return api_keys_allow(calls->keys,
                          grpc_metadata_find(&call->request, "authorization", 0, NULL),
                          grpc_metadata_find(&call->request, "x-api-key", 0, NULL));
}

/* The request's deadline, key, encodings and method. False: answered with a status. */
static bool grpc_check(struct grpc_call *call)
{
    size_t bytes;
    uint64_t timeout_ns;
    enum grpc_encoding encoding;
    const char *path = grpc_metadata_find(&call->request, ":path", 0, NULL);
    const char *timeout = grpc_metadata_find(&call->request, "grpc-timeout", 0, &bytes);
    enum status timed = timeout ? grpc_timeout_parse(timeout, bytes, &timeout_ns) : STATUS_OK;
    struct grpc_method key = {.path = path ? path : ""};
    call->method = bsearch(&key, call->calls->methods, call->calls->method_count, sizeof key,
                           method_compare);
    if (!header_is(call, "te", "trailers"))
        grpc_call_finish(call, GRPC_INTERNAL, "te: trailers is missing: some proxy drops trailers");
    else if (call->bad_metadata)
        grpc_call_finish(call, GRPC_INTERNAL, "a metadata value ending in -bin is not base64");
    else if (timed != STATUS_OK)
        grpc_call_finish(call, GRPC_INTERNAL, "grpc-timeout is malformed");
    else if (!key_check(call))
        grpc_call_finish(call, GRPC_UNAUTHENTICATED,
                         "an API key is needed: authorization: Bearer KEY");
    else if (!call->method)
        grpc_call_finish(call, GRPC_UNIMPLEMENTED, path_unknown(call->calls, key.path));
    else if (encoding_find(call, &encoding) != STATUS_OK)
        grpc_call_finish(call, GRPC_UNIMPLEMENTED,
                         "grpc-encoding is neither identity nor gzip");
    else if (timeout && grpc_call_set_timeout(call, timeout_ns) != STATUS_OK)
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "no memory for the deadline");
    else
        grpc_message_reader_init(&call->reader, call->calls->limits.message_bytes_max, encoding);
    return !call->finished;
}

void grpc_call_on_headers(void *arg, bool too_large)
{
    struct grpc_call *call = arg;
    size_t bytes;
    if (too_large || call->no_memory) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "the request's headers are too large");
        return;
    }
    if (!http_check(call) || !grpc_check(call))
        return;
    const char *accept = grpc_metadata_find(&call->request, "grpc-accept-encoding", 0, &bytes);
    call->client_gzip = accept && grpc_list_has(accept, bytes, "gzip");
    call->opened = true;
    if (call->method->open)
        call->method->open(call);
}
