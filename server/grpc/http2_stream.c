/* One stream of an HTTP/2 connection: the answer's headers, its body drawn by nghttp2 as windows
 * allow, its trailers. See http2.h for the contract and http2_stream.h for what is shared.
 *
 * Body bytes wait in `output`. nghttp2 asks stream_read for them; with nothing to give, the stream
 * is deferred until stream_resume. The trailers go out with the last body byte. */
#include "server/grpc/http2_stream.h"

#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "memory/base/clock.h"

static void stream_free(struct http2_stream *stream)
{
    struct http2_connection *connection = stream->connection;
    if (stream->in_writable)
        TAILQ_REMOVE(&connection->writable, stream, in_writable_list);
    TAILQ_REMOVE(&connection->streams, stream, in_connection);
    if (--connection->stream_count == 0)
        connection->idle_ns = clock_now_ns();
    if (stream->output)
        evbuffer_free(stream->output);
    free(stream->trailers);
    free(stream);
}

struct http2_stream *http2_stream_begin(struct http2_connection *connection, int32_t id)
{
    struct http2_stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return NULL;
    stream->connection = connection;
    stream->id = id;
    stream->output = evbuffer_new();
    TAILQ_INSERT_TAIL(&connection->streams, stream, in_connection);
    connection->stream_count++;
    if (stream->output)
        stream->request = connection->http2->handler->begin(connection->user, stream);
    if (!stream->request) {
        stream_free(stream);
        return NULL;
    }
    nghttp2_session_set_stream_user_data(connection->session, id, stream);
    /* Streams take turns; without this the oldest one is served until its window is empty. */
    nghttp2_extpri turns = {.urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1};
    (void)nghttp2_session_change_extpri_stream_priority(connection->session, id, &turns, 1);
    return stream;
}

void http2_stream_close(struct http2_stream *stream)
{
    struct http2_connection *connection = stream->connection;
    nghttp2_session_set_stream_user_data(connection->session, stream->id, NULL);
    connection->http2->handler->closed(stream->request, stream->complete);
    stream_free(stream);
}

/* Copies fields into one block of nghttp2's form; the text follows the array. NULL: no memory. */
static nghttp2_nv *fields_copy(const struct http2_field *fields, size_t count)
{
    size_t bytes = count * sizeof(nghttp2_nv);
    for (size_t i = 0; i < count; i++)
        bytes += fields[i].name_bytes + fields[i].value_bytes;
    nghttp2_nv *nv = malloc(bytes ? bytes : 1);
    if (!nv)
        return NULL;
    uint8_t *text = (uint8_t *)(nv + count);
    for (size_t i = 0; i < count; i++) {
        memcpy(text, fields[i].name, fields[i].name_bytes);
        memcpy(text + fields[i].name_bytes, fields[i].value, fields[i].value_bytes);
        nv[i] = (nghttp2_nv){text, text + fields[i].name_bytes, fields[i].name_bytes,
                             fields[i].value_bytes, NGHTTP2_NV_FLAG_NONE};
        text += fields[i].name_bytes + fields[i].value_bytes;
    }
    return nv;
}

/* nghttp2 draws body bytes. */
static ssize_t stream_read(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t size,
                           uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct http2_stream *stream = nghttp2_session_get_stream_user_data(session, id);
    (void)source, (void)user;
    if (!stream) /* closed while its last frame was on the way out */
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    int n = evbuffer_remove(stream->output, buffer, size);
    if (n < 0)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t left = evbuffer_get_length(stream->output);
    if (stream->want_writable && left <= stream->writable_at) {
        stream->want_writable = false;
        stream->in_writable = true;
        TAILQ_INSERT_TAIL(&stream->connection->writable, stream, in_writable_list);
    }
    if (left > 0)
        return n;
    if (stream->finishing) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(session, id, stream->trailers, stream->trailer_count) != 0)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        return n;
    }
    return n ? n : NGHTTP2_ERR_DEFERRED;
}

enum status http2_stream_respond(struct http2_stream *stream, const struct http2_field *fields,
                                 size_t count, bool last)
{
    nghttp2_data_provider provider = {{.ptr = NULL}, stream_read};
    CHECK(!stream->responded);
    nghttp2_nv *nv = fields_copy(fields, count);
    if (!nv)
        return STATUS_NO_MEMORY;
    int rc = nghttp2_submit_response(stream->connection->session, stream->id, nv, count,
                                     last ? NULL : &provider);
    free(nv);
    http2_want_flush(stream->connection);
    if (rc != 0)
        return rc == NGHTTP2_ERR_NOMEM ? STATUS_NO_MEMORY : STATUS_CANCELLED;
    stream->responded = true;
    stream->finishing = last;
    return STATUS_OK;
}

static void stream_resume(struct http2_stream *stream)
{
    /* An error means that the stream was not waiting, or has no data source yet: both are fine. */
    (void)nghttp2_session_resume_data(stream->connection->session, stream->id);
    http2_want_flush(stream->connection);
}

enum status http2_stream_write(struct http2_stream *stream, const void *bytes, size_t size)
{
    CHECK(!stream->finishing);
    if (size && evbuffer_add(stream->output, bytes, size) != 0)
        return STATUS_NO_MEMORY;
    stream_resume(stream);
    return STATUS_OK;
}

enum status http2_stream_finish(struct http2_stream *stream, const struct http2_field *trailers,
                                size_t count)
{
    CHECK(stream->responded && !stream->finishing);
    stream->trailers = fields_copy(trailers, count);
    if (!stream->trailers)
        return STATUS_NO_MEMORY;
    stream->trailer_count = count;
    stream->finishing = true;
    stream_resume(stream);
    return STATUS_OK;
}

void http2_stream_reset(struct http2_stream *stream, enum http2_error code)
{
    (void)evbuffer_drain(stream->output, evbuffer_get_length(stream->output));
    (void)nghttp2_submit_rst_stream(stream->connection->session, NGHTTP2_FLAG_NONE, stream->id,
                                    (uint32_t)code);
    http2_want_flush(stream->connection);
}

void http2_stream_consume(struct http2_stream *stream, size_t size)
{
    if (size == 0)
        return;
    (void)nghttp2_session_consume_stream(stream->connection->session, stream->id, size);
    http2_want_flush(stream->connection);
}

size_t http2_stream_unsent(const struct http2_stream *stream)
{
    return evbuffer_get_length(stream->output);
}

void http2_stream_want_writable(struct http2_stream *stream)
{
    if (stream->want_writable || stream->in_writable)
        return;
    stream->want_writable = true;
    stream->writable_at = evbuffer_get_length(stream->output) / 2;
}

bool http2_stream_fire_writable(struct http2_connection *connection)
{
    bool fired = false;
    /* Those that ask again while they are called go to the end and wait for the next round. */
    struct http2_stream *last = TAILQ_LAST(&connection->writable, http2_writable);
    while (last) {
        struct http2_stream *stream = TAILQ_FIRST(&connection->writable);
        TAILQ_REMOVE(&connection->writable, stream, in_writable_list);
        stream->in_writable = false;
        bool was_last = stream == last;
        connection->http2->handler->writable(stream->request);
        fired = true;
        if (was_last)
            break;
    }
    return fired;
}
