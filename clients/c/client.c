#include "clients/c/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clients/c/grpc_text.h"
#include "clients/c/message.h"

static const struct channel_result no_memory = {GRPC_RESOURCE_EXHAUSTED, "out of memory"};

struct moering_client {
    struct channel *channel; /* NULL: to be opened by the next call */
    struct channel_config config;
    char *address, *ca_file, *api_key; /* owned */
    uint64_t call_ms;
    bool busy;               /* a call is under way: a callback may not begin another */
    int cancel_fd;           /* an eventfd: readable once moering_cancel was called */
};

const char *moering_status_name(int status)
{
    return grpc_text_status(status);
}

const char *moering_version(void)
{
    return MOERING_VERSION;
}

void moering_free(void *memory)
{
    free(memory);
}

int client_fail(struct moering_error *error, int status, const char *message)
{
    if (error) {
        error->status = status;
        snprintf(error->message, sizeof error->message, "%s", message);
    }
    return status;
}

/* ---- open and close ---- */

/* False: out of memory. NULL stays NULL. */
static bool keep(char **out, const char *text)
{
    *out = text ? strdup(text) : NULL;
    return !text || *out;
}

static bool connect_channel(struct moering_client *c, struct channel_result *result)
{
    return c->channel || channel_open(&c->channel, &c->config, result);
}

int moering_open(struct moering_client **out, const struct moering_options *given,
                 struct moering_error *error)
{
    struct moering_options o = MOERING_OPTIONS_INIT;
    struct channel_result result = no_memory;
    *out = NULL;
    if (given && (given->size < sizeof given->size || given->size > sizeof o))
        return client_fail(error, MOERING_INVALID_ARGUMENT,
                           "options were not begun with MOERING_OPTIONS_INIT, or are of a newer "
                           "version");
    if (given)
        memcpy(&o, given, given->size);
    if (!o.tls && (o.ca_file || o.insecure)) /* else the key would travel in plain sight */
        return client_fail(error, MOERING_INVALID_ARGUMENT, "ca_file and insecure need tls");
    struct moering_client *c = calloc(1, sizeof *c);
    if (!c)
        return client_fail(error, result.status, result.message);
    c->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->call_ms = o.call_ms;
    if (c->cancel_fd < 0 || !keep(&c->address, o.address) || !keep(&c->ca_file, o.ca_file) ||
        !keep(&c->api_key, o.api_key))
        goto fail;
    c->config = (struct channel_config){
        .address = c->address ? c->address : "",
        .timeout_ms = o.connect_ms,
        .tls = o.tls,
        .ca_file = c->ca_file,
        .insecure = o.insecure,
        .api_key = c->api_key,
    };
    if (!connect_channel(c, &result))
        goto fail;
    *out = c;
    return MOERING_OK;
fail:
    moering_close(c);
    return client_fail(error, result.status, result.message);
}

void moering_close(struct moering_client *c)
{
    if (!c)
        return;
    channel_close(c->channel);
    if (c->cancel_fd >= 0)
        close(c->cancel_fd);
    free(c->address);
    free(c->ca_file);
    free(c->api_key);
    free(c);
}

void moering_cancel(struct moering_client *c)
{
    uint64_t one = 1;
    ssize_t written = write(c->cancel_fd, &one, sizeof one);
    (void)written; /* it can only be full, and then it is readable */
}

/* ---- calls ---- */

/* Runs one call; what became of it is in *result. */
static void call(struct moering_client *c, const char *path, const ProtobufCMessage *request,
                 bool (*message)(void *arg, const uint8_t *bytes, size_t size), void *arg,
                 struct channel_result *result)
{
    size_t size;
    uint64_t cancels;
    if (c->busy) {
        channel_result_fail(result, MOERING_FAILED_PRECONDITION,
                            "a callback may not use the client that called it");
        return;
    }
    uint8_t *bytes = message_pack(request, &size);
    c->busy = true;
    *result = no_memory;
    if (bytes && connect_channel(c, result)) {
        const struct channel_call call = {
            .path = path,
            .request = bytes,
            .request_bytes = size,
            .timeout_ms = c->call_ms,
            .cancel_fd = c->cancel_fd,
            .message = message,
            .arg = arg,
        };
        channel_run(c->channel, &call, result);
    }
    free(bytes);
    c->busy = false;
    if (result->status == GRPC_OK)
        return;
    channel_close(c->channel); /* whatever it was: the next call gets a connection of its own */
    c->channel = NULL;
    if (result->status == GRPC_CANCELLED && read(c->cancel_fd, &cancels, sizeof cancels) < 0)
        cancels = 0; /* somebody else cancelled: the callback, the server */
}

static int report(const struct channel_result *result, struct moering_error *error)
{
    return result->status ? client_fail(error, result->status, result->message) : MOERING_OK;
}

int client_call(struct moering_client *c, const char *path, const ProtobufCMessage *request,
                bool (*message)(void *arg, const uint8_t *bytes, size_t size), void *arg,
                struct moering_error *error)
{
    struct channel_result result;
    call(c, path, request, message, arg, &result);
    return report(&result, error);
}

int client_unary(struct moering_client *c, const char *path, const ProtobufCMessage *request,
                 const ProtobufCMessageDescriptor *type, ProtobufCMessage **out,
                 struct moering_error *error)
{
    struct message_answer answer = {.type = type};
    struct channel_result result;
    call(c, path, request, message_take, &answer, &result);
    *out = message_answered(&answer, &result);
    return report(&result, error);
}
