/* `moering-client`: subcommands that make one call each, and what they share: flags, the channel,
 * error sentences. Exit codes: 0, 1 for an error, 2 for wrong usage. */
#ifndef MOERING_CLIENTS_CLI_CLI_H
#define MOERING_CLIENTS_CLI_CLI_H

#include <jansson.h>
#include <moering/v1/moering.pb-c.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "clients/c/channel.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CLI_OK 0
#define CLI_ERROR 1
#define CLI_USAGE 2

#define CLI_STOPS_MAX 16
#define CLI_IDS_MAX 65536

struct cli_ids {
    uint32_t *ids;
    uint32_t count;
};

/* Every flag of every subcommand. */
struct cli_options {
    const char *command;       /* a subcommand, "help", "version", or "": none was named */
    const char *connect;
    bool tls, insecure;        /* each flag of TLS turns it on */
    const char *ca_file;       /* NULL: as the system says */
    const char *api_key;       /* NULL: none */
    uint64_t timeout_ms;       /* 0: none */
    uint64_t wait_ms;          /* for the server to serve */
    bool json;
    const char *text;          /* NULL: standard input */
    struct cli_ids tokens;     /* --tokens */
    struct cli_ids stop_tokens;
    const char *stops[CLI_STOPS_MAX];
    uint32_t stop_count;
    const char *model, *request_id, *service;
    bool has_max_tokens, has_temperature, has_top_p, has_repetition_penalty, has_seed;
    uint32_t max_tokens, min_tokens, top_k, top_logprobs;
    float temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
    uint64_t seed;
    int32_t priority;
    const char *device_experts, *host_experts, *kv_cache_bytes; /* NULL: unchanged */
    const char *system;        /* chat; NULL: none */
    uint64_t interval_ms;      /* top: between frames */
    bool once;                 /* top */
    bool ignore_eos, include_stop, no_special, keep_special, echo, logprobs, pieces;
};

/* The whole program. */
int cli_main(int argc, char **argv);

/* CLI_OK, or CLI_USAGE with a sentence on standard error: for an unknown command or flag (it names
 * the nearest), a wrong value, and whatever the command has no use for. cli_options_close frees. */
int cli_options_parse(struct cli_options *options, int argc, char **argv);
void cli_options_close(struct cli_options *options);
void cli_help(FILE *out);
/* "1,2,3". False: not a list of ids. */
bool cli_parse_ids(const char *text, struct cli_ids *out);

int cli_generate(const struct cli_options *options);
int cli_tokenize(const struct cli_options *options);
int cli_detokenize(const struct cli_options *options);
int cli_model(const struct cli_options *options);
int cli_stats(const struct cli_options *options);
int cli_budget(const struct cli_options *options);
int cli_health(const struct cli_options *options);
int cli_chat(const struct cli_options *options);
int cli_top(const struct cli_options *options);

/* The settings of a GenerateRequest from the flags, without a prompt, and what they point at. */
struct cli_request {
    Moering__V1__GenerateRequest message;
    Moering__V1__SamplingParams sampling;
    Moering__V1__TokenIds ids;
    ProtobufCBinaryData stops[CLI_STOPS_MAX];
};
void cli_request_init(struct cli_request *request, const struct cli_options *options);
/* Readable once Ctrl-C was pressed or the program was asked to end (a signalfd): neither ends the
 * program any more. */
int cli_interrupt_fd(void);

/* Connects, after waiting for the server if --wait asks for it. NULL: told on standard error. */
struct channel *cli_connect(const struct cli_options *options);
/* The same, saying nothing: *result says why. */
struct channel *cli_connect_quietly(const struct cli_options *options,
                                    struct channel_result *result);
/* One unary call on an open channel; NULL: *result says why. */
ProtobufCMessage *cli_call(struct channel *channel, const struct cli_options *options,
                           const char *path, const ProtobufCMessage *request,
                           const ProtobufCMessageDescriptor *answer, struct channel_result *result);
/* One unary call. The answer, freed with protobuf_c_message_free_unpacked; NULL: told. */
ProtobufCMessage *cli_unary(const struct cli_options *options, const char *path,
                            const ProtobufCMessage *request,
                            const ProtobufCMessageDescriptor *answer);
/* "moering-client: STATUS: sentence"; returns CLI_ERROR. */
int cli_fail(const struct channel_result *result);
/* Tells that a write to standard output failed with this errno; returns CLI_ERROR. */
int cli_output_lost(int cause);
/* What a token stands for, as JSON: a string, or a list of bytes where that is no UTF-8, as for a
 * part of a character. */
json_t *cli_piece_json(const ProtobufCBinaryData *piece);
/* All of standard input, malloc'ed and terminated; NULL: told. */
char *cli_read_input(size_t *bytes);

#ifdef __cplusplus
}
#endif
#endif
