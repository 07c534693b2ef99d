#include "clients/cli/cli.h"

#include <grpc/health/v1/health.pb-c.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clients/c/grpc_text.h"
#include "clients/c/message.h"
#include "clients/c/now.h"
#include "clients/program/output.h"

enum { CONNECT_MS = 5000, RETRY_MS = 100 };

static const struct {
    const char *name;
    int (*run)(const struct cli_options *options);
} commands[] = {
    {"generate", cli_generate}, {"tokenize", cli_tokenize}, {"detokenize", cli_detokenize},
    {"model", cli_model},       {"stats", cli_stats},       {"budget", cli_budget},
    {"health", cli_health},     {"chat", cli_chat},         {"top", cli_top},
};

int cli_output_lost(int cause)
{
    struct fault fault = {{0}};
    output_lost(cause, &fault);
    fprintf(stderr, "moering-client: %s\n", fault.text);
    return CLI_ERROR;
}

/* If some of standard output was lost, a command that went well fails after all. */
static int end_output(int code)
{
    struct fault fault = {{0}};
    if (output_flush(&fault))
        return code;
    fprintf(stderr, "moering-client: %s\n", fault.text);
    return CLI_ERROR;
}

int cli_main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a failed write, not the end */
    struct cli_options options;
    int code = cli_options_parse(&options, argc, argv);
    if (code == CLI_OK && !*options.command) {
        cli_help(stderr);
        code = CLI_USAGE;
    } else if (code == CLI_OK && strcmp(options.command, "help") == 0) {
        cli_help(stdout);
    } else if (code == CLI_OK && strcmp(options.command, "version") == 0) {
        printf("moering-client %s\n", MOERING_VERSION);
    } else if (code == CLI_OK) {
        code = CLI_USAGE;
        for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
            if (strcmp(options.command, commands[i].name) == 0)
                code = commands[i].run(&options);
    }
    cli_options_close(&options);
    return end_output(code);
}

int cli_fail(const struct channel_result *result)
{
    fprintf(stderr, "moering-client: %s: %s\n", grpc_text_status(result->status), result->message);
    return CLI_ERROR;
}

char *cli_read_input(size_t *bytes)
{
    size_t capacity = 4096, used = 0;
    char *text = malloc(capacity);
    while (text) {
        used += fread(text + used, 1, capacity - 1 - used, stdin);
        if (used + 1 < capacity)
            break;
        char *grown = capacity < CHANNEL_MESSAGE_BYTES_MAX ? realloc(text, 2 * capacity) : NULL;
        if (!grown) {
            fprintf(stderr, "moering-client: standard input is too long\n");
            free(text);
        }
        text = grown;
        capacity *= 2;
    }
    if (text)
        text[used] = '\0';
    *bytes = used;
    return text;
}

json_t *cli_piece_json(const ProtobufCBinaryData *piece)
{
    json_t *text = json_stringn(piece->len ? (const char *)piece->data : "", piece->len);
    if (text)
        return text;
    json_t *bytes = json_array();
    for (size_t i = 0; i < piece->len; i++)
        json_array_append_new(bytes, json_integer(piece->data[i]));
    return bytes;
}

/* ---- unary calls ---- */

ProtobufCMessage *cli_call(struct channel *channel, const struct cli_options *o, const char *path,
                           const ProtobufCMessage *request, const ProtobufCMessageDescriptor *type,
                           struct channel_result *result)
{
    size_t size;
    struct message_answer answer = {.type = type};
    uint8_t *bytes = message_pack(request, &size);
    if (!bytes) {
        channel_result_fail(result, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    const struct channel_call call = {
        .path = path,
        .request = bytes,
        .request_bytes = size,
        .timeout_ms = o->timeout_ms,
        .cancel_fd = -1,
        .message = message_take,
        .arg = &answer,
    };
    channel_run(channel, &call, result);
    free(bytes);
    return message_answered(&answer, result);
}

ProtobufCMessage *cli_unary(const struct cli_options *o, const char *path,
                            const ProtobufCMessage *request,
                            const ProtobufCMessageDescriptor *type)
{
    struct channel *channel = cli_connect(o);
    if (!channel)
        return NULL;
    struct channel_result result;
    ProtobufCMessage *message = cli_call(channel, o, path, request, type, &result);
    if (!message)
        cli_fail(&result);
    channel_close(channel);
    return message;
}

/* ---- health and waiting ---- */

/* The serving status, or 0 with *result filled. */
static int ask_health(struct channel *channel, const struct cli_options *o,
                      struct channel_result *result)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    request.service = (char *)o->service;
    ProtobufCMessage *answer =
        cli_call(channel, o, "/grpc.health.v1.Health/Check", &request.base,
                   &grpc__health__v1__health_check_response__descriptor, result);
    if (!answer)
        return 0;
    int status = (int)((Grpc__Health__V1__HealthCheckResponse *)answer)->status;
    protobuf_c_message_free_unpacked(answer, NULL);
    return status;
}

static const char *health_name(int status)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(
        &grpc__health__v1__health_check_response__serving_status__descriptor, status);
    return value ? value->name : "UNKNOWN";
}

struct channel *cli_connect(const struct cli_options *o)
{
    struct channel_result result;
    struct channel *channel = cli_connect_quietly(o, &result);
    if (!channel)
        cli_fail(&result);
    return channel;
}

struct channel *cli_connect_quietly(const struct cli_options *o, struct channel_result *result)
{
    uint64_t deadline = now_ms() + o->wait_ms;
    const struct channel_config config = {
        .address = o->connect,
        .timeout_ms = CONNECT_MS,
        .tls = o->tls || o->ca_file || o->insecure,
        .ca_file = o->ca_file,
        .insecure = o->insecure,
        .api_key = o->api_key,
    };
    for (;;) {
        struct channel *channel = NULL;
        if (channel_open(&channel, &config, result)) {
            if (!o->wait_ms)
                return channel;
            int status = ask_health(channel, o, result);
            if (status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING)
                return channel;
            if (status)
                channel_result_fail(result, GRPC_UNAVAILABLE, "the server is not serving yet");
            channel_close(channel);
        }
        if (now_ms() >= deadline || result->status == GRPC_INVALID_ARGUMENT /* for ever */)
            return NULL;
        nanosleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000l}, NULL);
    }
}

int cli_health(const struct cli_options *o)
{
    struct channel *channel = cli_connect(o);
    if (!channel)
        return CLI_ERROR;
    struct channel_result result;
    int status = ask_health(channel, o, &result);
    channel_close(channel);
    if (!status)
        return cli_fail(&result);
    printf(o->json ? "{\"status\":\"%s\"}\n" : "%s\n", health_name(status));
    return status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING ? CLI_OK
                                                                                     : CLI_ERROR;
}
