/* One request and its answer: what is decided when the head has come, the body, and the functions
 * that handlers answer with. See http.h for the contract and http_connection.h for what is shared.
 *
 * Whether a request is served is decided before its body is read: a stranger's body costs no
 * memory. A small body of a refused request is thrown away, so that its connection can be used
 * again; a large one, or one that waits for "100 Continue", ends with the connection. */
#include <event2/buffer.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "memory/base/clock.h"
#include "server/http/http_connection.h"
#include "server/net/api_keys.h"

enum { BODY_BYTES_FIRST = 16 << 10, CHUNK_FRAME_BYTES = 24 };

static struct http_server *server_of(const struct http_exchange *x)
{
    return x->connection->server;
}

struct http_exchange *http_exchange_open(struct http_connection *connection)
{
    struct http_exchange *x = calloc(1, sizeof *x);
    if (x)
        x->connection = connection;
    return x;
}

void http_exchange_close(struct http_exchange *x)
{
    server_of(x)->input_bytes -= x->body_capacity;
    if (x->headers)
        evbuffer_free(x->headers);
    http_head_reset(&x->head);
    free(x->body);
    free(x);
}

/* ---- the head ---- */

static bool key_right(const struct http_exchange *x)
{
    const struct api_keys *keys = server_of(x)->keys;
    return !keys || api_keys_allow(keys, http_header(x, "authorization"),
                                    http_header(x, "x-api-key"));
}

/* Finds the route. False: x->refusal says why not. Without a right key a client learns of public
 * routes alone. */
static bool request_allowed(struct http_exchange *x)
{
    const char *allow;
    const struct http_route *route = http_server_route(server_of(x), x->head.method,
                                                       x->target.path, &allow);
    if (!(route && route->is_public) && !key_right(x)) {
        x->refusal = (struct http_failure){HTTP_BAD_KEY, NULL,
                                           "an API key is needed: Authorization: Bearer KEY"};
        return false;
    }
    if (route) {
        x->route = route;
        return true;
    }
    if (allow)
        http_set_header(x, "Allow", allow);
    x->refusal = allow ? (struct http_failure){HTTP_BAD_METHOD, NULL,
                                               "this path is not for that method"}
                       : (struct http_failure){HTTP_NO_ROUTE, NULL, "there is no such path"};
    return false;
}

void http_exchange_judge(struct http_exchange *x, struct http_head_reader *reader)
{
    const struct http_limits *limits = &server_of(x)->limits;
    struct http_failure why;
    if (!http_head_parse(&x->head, reader, &why) ||
        !http_target_parse(&x->target, x->head.target, &why)) {
        http_exchange_refuse(x, why.problem, why.message);
        return;
    }
    x->keep_alive = x->head.keep_alive;
    x->refused = !request_allowed(x);
    if (!x->refused && x->head.length > limits->body_bytes) {
        x->refused = true;
        x->refusal = (struct http_failure){HTTP_BODY_TOO_LARGE, NULL, "the body is too large"};
    }
    x->body_left = x->head.length;
    http_chunks_init(&x->chunks, x->refused ? HTTP_DISCARD_BYTES : limits->body_bytes,
                     limits->header_bytes);
    bool body = x->head.chunked || x->body_left > 0;
    if (x->refused && body && (x->head.expects_continue || x->body_left > HTTP_DISCARD_BYTES))
        http_exchange_refuse(x, x->refusal.problem, x->refusal.message);
    else if (body && x->head.expects_continue)
        (void)evbuffer_add_printf(http_connection_output(x->connection),
                                  "HTTP/1.1 100 Continue\r\n\r\n");
}

void http_exchange_refuse(struct http_exchange *x, enum http_problem problem, const char *message)
{
    struct http_failure failure = {.problem = problem, .message = message};
    x->keep_alive = false;
    http_fail(x, &failure);
}

void http_exchange_dispatch(struct http_exchange *x)
{
    struct http_server *server = server_of(x);
    if (x->refused) {
        http_fail(x, &x->refusal);
        return;
    }
    x->connection->state = HTTP_ANSWER;
    x->id = ++server->last_id;
    LIST_INSERT_HEAD(&server->buckets[x->id % HTTP_BUCKETS], x, in_bucket);
    server->exchange_count++;
    x->route->handle(x);
}

/* ---- the body ---- */

/* Room for `size` more bytes. Memory follows the bytes that came: a length reserves nothing. */
static bool body_reserve(struct http_exchange *x, size_t size)
{
    struct http_server *server = server_of(x);
    uint64_t most = x->head.chunked ? server->limits.body_bytes : x->head.length;
    uint64_t capacity = x->body_capacity ? 2 * (uint64_t)x->body_capacity : BODY_BYTES_FIRST;
    if (x->body_bytes + size <= x->body_capacity)
        return true;
    if (capacity < x->body_bytes + size)
        capacity = x->body_bytes + size;
    if (capacity > most)
        capacity = most;
    uint64_t more = capacity - x->body_capacity;
    if (server->limits.input_bytes && server->input_bytes + more > server->limits.input_bytes)
        return false;
    uint8_t *body = realloc(x->body, capacity);
    if (!body)
        return false;
    server->input_bytes += more;
    x->body = body;
    x->body_capacity = capacity;
    return true;
}

static bool body_add(struct http_exchange *x, const uint8_t *bytes, size_t size)
{
    if (x->refused || size == 0)
        return true;
    if (!body_reserve(x, size)) {
        http_exchange_refuse(x, HTTP_UNAVAILABLE, "too many bodies are under way");
        return false;
    }
    memcpy(x->body + x->body_bytes, bytes, size);
    x->body_bytes += size;
    return true;
}

enum http_read http_exchange_body(struct http_exchange *x, const uint8_t *bytes, size_t size,
                                  size_t *taken)
{
    if (!x->head.chunked) {
        *taken = x->body_left < size ? (size_t)x->body_left : size;
        x->body_left -= *taken;
        bool done = x->body_left == 0;
        if (!body_add(x, bytes, *taken))
            return HTTP_READ_NO_MEMORY;
        return done ? HTTP_READ_DONE : HTTP_READ_MORE;
    }
    const uint8_t *data;
    size_t data_bytes;
    enum http_read read = http_chunks_read(&x->chunks, bytes, size, taken, &data, &data_bytes);
    if (read == HTTP_READ_BAD)
        http_exchange_refuse(x, HTTP_BAD_VALUE, "the body is not well chunked");
    else if (read == HTTP_READ_TOO_LARGE && x->refused)
        http_exchange_refuse(x, x->refusal.problem, x->refusal.message);
    else if (read == HTTP_READ_TOO_LARGE)
        http_exchange_refuse(x, HTTP_BODY_TOO_LARGE, "the body is too large");
    else if (!body_add(x, data, data_bytes))
        return HTTP_READ_NO_MEMORY;
    return read;
}

/* ---- what handlers ask ---- */

uint64_t http_id(const struct http_exchange *x)
{
    return x->id;
}

void *http_context(const struct http_exchange *x)
{
    return x->route->context;
}

void *http_user(const struct http_exchange *x)
{
    return x->user;
}

void http_set_user(struct http_exchange *x, void *user)
{
    x->user = user;
}

const char *http_path(const struct http_exchange *x)
{
    return x->target.path;
}

const char *http_rest(const struct http_exchange *x)
{
    size_t bytes = strlen(x->route->path);
    CHECK_MSG(x->route->path[bytes - 1] == '*', "the route %s has no star", x->route->path);
    return x->target.path + bytes - 1;
}

const char *http_header(const struct http_exchange *x, const char *name)
{
    return http_head_find(&x->head, name);
}

const char *http_query(const struct http_exchange *x, const char *name)
{
    return http_target_query(&x->target, name);
}

const char *http_peer(const struct http_exchange *x)
{
    return x->connection->peer.name;
}

const uint8_t *http_body(struct http_exchange *x, size_t *bytes)
{
    *bytes = x->body_bytes;
    return x->body ? x->body : (const uint8_t *)"";
}

/* ---- the answer ---- */

static bool answers(const struct http_exchange *x)
{
    return x->connection->exchange == x && x->connection->state <= HTTP_ANSWER;
}

static bool head_only(const struct http_exchange *x)
{
    return x->head.method && strcmp(x->head.method, "HEAD") == 0;
}

void http_set_header(struct http_exchange *x, const char *name, const char *value)
{
    CHECK_MSG(!strpbrk(name, "\r\n: ") && !strpbrk(value, "\r\n"), "header %s", name);
    CHECK_MSG(answers(x) && !x->begun, "header %s comes too late", name);
    if (!x->headers)
        x->headers = evbuffer_new();
    if (!x->headers || evbuffer_add_printf(x->headers, "%s: %s\r\n", name, value) < 0)
        x->broken = true;
}

/* The exchange is over, and gone. */
static void exchange_end(struct http_exchange *x)
{
    struct http_connection *connection = x->connection;
    bool keep_alive = x->keep_alive;
    if (connection->state == HTTP_ANSWER) {
        LIST_REMOVE(x, in_bucket);
        connection->server->exchange_count--;
    }
    if (x->broken)
        http_connection_cut(connection);
    connection->exchange = NULL;
    http_exchange_close(x);
    http_connection_next(connection, keep_alive);
}

static void head_write(struct http_exchange *x, struct http_answer *answer)
{
    struct http_server *server = server_of(x);
    const char *id = http_header(x, "x-request-id");
    if (server->draining || answer->framing == HTTP_LENGTH_CLOSE)
        x->keep_alive = false;
    answer->date = http_date_text(&server->date, time(NULL));
    answer->request_id = id && http_request_id_ok(id) ? id : NULL;
    answer->keep_alive = x->keep_alive;
    answer->say_keep_alive = x->head.minor == 0;
    if (!http_answer_write(http_connection_output(x->connection), answer, x->headers))
        x->broken = true;
}

void http_reply(struct http_exchange *x, int code, const char *content_type, const void *bytes,
                size_t size)
{
    CHECK_MSG(answers(x) && !x->begun, "%d comes too late", code);
    bool bodiless = code < 200 || code == 204 || code == 304;
    struct http_answer answer = {
        .code = code,
        .content_type = bodiless ? NULL : content_type,
        .framing = bodiless ? HTTP_LENGTH_NONE : HTTP_LENGTH_KNOWN,
        .length = size,
    };
    head_write(x, &answer);
    if (!bodiless && !head_only(x) && size > 0 &&
        evbuffer_add(http_connection_output(x->connection), bytes, size) != 0)
        x->broken = true;
    exchange_end(x);
}

void http_fail(struct http_exchange *x, const struct http_failure *failure)
{
    enum http_problem problem = failure->problem;
    uint32_t retry_after_s = http_problem_retry_after_s(problem);
    char number[16];
    if (retry_after_s) {
        (void)snprintf(number, sizeof number, "%u", retry_after_s);
        http_set_header(x, "Retry-After", number);
    }
    if (problem == HTTP_BAD_KEY)
        http_set_header(x, "WWW-Authenticate", "Bearer");
    json_t *body = json_pack("{s:{s:s,s:s,s:s?,s:s}}", "error", "message", failure->message,
                             "type", http_problem_type(problem), "param", failure->param, "code",
                             http_problem_word(problem));
    /* A message with bytes that are no UTF-8, or no memory: the code says enough. */
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    const char *said = text ? text : "{\"error\":{\"message\":\"\",\"type\":\"server_error\","
                                     "\"param\":null,\"code\":null}}";
    http_reply(x, http_problem_code(problem), "application/json", said, strlen(said));
    free(text);
    json_decref(body);
}

void http_stream_begin(struct http_exchange *x, const char *content_type)
{
    CHECK_MSG(answers(x) && !x->begun, "a stream begins twice");
    http_set_header(x, "Cache-Control", "no-cache");
    http_set_header(x, "X-Accel-Buffering", "no");
    bool chunked = x->head.minor > 0;
    struct http_answer answer = {
        .code = 200,
        .content_type = content_type,
        .framing = chunked ? HTTP_LENGTH_CHUNKED : HTTP_LENGTH_CLOSE,
    };
    head_write(x, &answer);
    x->begun = true;
}

enum status http_stream_write(struct http_exchange *x, const void *bytes, size_t size)
{
    CHECK_MSG(answers(x) && x->begun, "a stream is written that has not begun");
    struct evbuffer *output = http_connection_output(x->connection);
    char frame[CHUNK_FRAME_BYTES];
    if (x->broken)
        return STATUS_NO_MEMORY;
    if (size > 0 && !head_only(x)) {
        bool chunked = x->head.minor > 0;
        int frame_bytes = chunked ? snprintf(frame, sizeof frame, "%zx\r\n", size) : 0;
        /* Reserved as one, so that a chunk is there whole or not at all. */
        if (evbuffer_expand(output, size + sizeof frame) != 0 ||
            evbuffer_add(output, frame, (size_t)frame_bytes) != 0 ||
            evbuffer_add(output, bytes, size) != 0 ||
            evbuffer_add(output, "\r\n", chunked ? 2 : 0) != 0) {
            x->broken = true;
            return STATUS_NO_MEMORY;
        }
    }
    x->full = x->full || evbuffer_get_length(output) > server_of(x)->limits.output_bytes_high;
    return x->full ? STATUS_FULL : STATUS_OK;
}

void http_stream_end(struct http_exchange *x)
{
    CHECK_MSG(answers(x) && x->begun, "a stream ends that has not begun");
    if (x->head.minor > 0 && !head_only(x) &&
        evbuffer_add(http_connection_output(x->connection), "0\r\n\r\n", 5) != 0)
        x->broken = true;
    exchange_end(x);
}

void http_abort(struct http_exchange *x)
{
    CHECK_MSG(answers(x), "an exchange is aborted that is over");
    x->broken = true;
    exchange_end(x);
}

bool http_stream_begun(const struct http_exchange *x)
{
    return x->begun;
}
