/* Settings of the command line: one table says everything about a flag (name, aliases, kind, range,
 * default, help), and parsing, the environment, the file, --help and the printed configuration all
 * follow from it. A flag that is not in the table does not exist.
 *
 * Precedence: flag > environment > --config FILE > default. The variable of --max-num-seqs is
 * MOERING_MAX_NUM_SEQS; its key in the file is max-num-seqs. Unknown names and bad values are
 * refused, naming the nearest right one; an unknown variable may be somebody else's, so it only
 * earns a warning. */
#ifndef MOERING_SERVER_CONFIG_CONFIG_H
#define MOERING_SERVER_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "memory/base/status.h"
#include "memory/budget.h"

#ifdef __cplusplus
extern "C" {
#endif

enum config_command {
    CONFIG_SERVE = 1,
    CONFIG_RUN = 2,
    CONFIG_INSPECT = 4,
    CONFIG_TOKENIZE = 8,
    CONFIG_HEALTH = 16,
    CONFIG_TRACE_INFO = 32,
    CONFIG_TRACE_RECOVER = 64,
    CONFIG_REPLAY = 128,
    CONFIG_PLAN = 256,
    CONFIG_TRACE_PREDICT = 512,
    CONFIG_CONVERT = 1024,
    CONFIG_REPACK = 2048,
    CONFIG_BENCH = 4096,
    CONFIG_BENCH_MACHINE = 8192,
};

enum config_source { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_ENVIRONMENT, CONFIG_FLAG };

#define CONFIG_FLAGS_MAX 128
#define CONFIG_TEXTS_MAX 64

/* A flag that may be given several times. */
struct config_texts {
    uint32_t count;
    const char *text[CONFIG_TEXTS_MAX];
};

#define CONFIG_DEVICES_MAX 64u

/* The value of --device. */
struct config_device {
    uint32_t kind;    /* as enum engine_device */
    uint32_t ordinal; /* of a CUDA device */
};

/* Values, by the name of their flag. Texts belong to argv, the environment or the config. */
struct config {
    enum config_command command;
    bool help;
    /* model */
    const char *model; /* NULL: the built-in one */
    const char *served_model_name;
    uint32_t max_model_len;
    /* memory */
    struct room device_experts, host_experts;
    uint64_t kv_cache_bytes;
    uint32_t kv_cache_dtype; /* 0: auto, 1: f32, 2: f16 */
    bool enable_prefix_caching;
    uint32_t policy, predictor, prefetch; /* as enum evict_kind, foresight, prefetch_mode */
    uint32_t stream_layers; /* layers, STREAM_AUTO or STREAM_OFF */
    uint32_t io, direct_io; /* as enum io_kind, direct_reads */
    uint32_t io_threads, io_depth;
    uint32_t quantize;    /* 0: off, 1: q8_0, 2: q4_0, 3: q4_k */
    uint32_t activations; /* 0: auto, 1: int8, 2: f32 */
    const char *out;      /* convert, repack */
    bool verify;          /* inspect */
    /* compute */
    struct config_device device;
    uint32_t placement; /* as enum placement_mode */
    bool deterministic;
    uint32_t threads;
    uint32_t isa; /* 0: auto, then as enum cpu_isa + 1 */
    /* scheduling */
    uint32_t max_num_seqs, max_num_batched_tokens, max_queue;
    /* network */
    const char *host;
    uint32_t port, grpc_port;
    const char *api_key, *api_key_file, *ssl_certfile, *ssl_keyfile;
    const char *chat_template, *chat_template_file;
    uint32_t tool_call_parser; /* as enum openai_tool_parser */
    uint32_t reasoning_parser; /* as enum openai_reasoning_parser */
    bool metrics, metrics_public, ui;
    uint64_t http_max_body_bytes;
    uint32_t http_max_connections, http_max_connections_per_ip, http_idle_timeout;
    uint64_t grpc_max_message_bytes, grpc_max_unsent_bytes;
    uint32_t grpc_max_streams, grpc_max_connections, grpc_max_connections_per_ip;
    uint32_t grpc_idle_timeout, grpc_keepalive_time, grpc_max_connection_age;
    uint32_t client_stall_timeout, shutdown_timeout;
    /* run */
    struct config_texts prompt, stop;
    const char *tokens, *logits_out;
    const char *trace_out, *load_lstm; /* serve too */
    uint32_t max_tokens, min_tokens, chunk, top_k;
    double temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
    uint64_t seed;
    bool ignore_eos, add_special, keep_special;
    /* trace */
    const char *trace, *png, *horizons, *lstm_out;
    uint32_t experts_per_token; /* of a log of loads; 0: not known */
    /* replay, plan */
    struct room device_pages;
    uint32_t shuffle;  /* as enum shuffle */
    const char *batch; /* a number or "trace" */
    double link_gbps, step_us, target_tps;
    uint64_t page_bytes, max_trace_tokens;
    bool sweep;
    const char *csv, *svg;
    /* bench: lists of numbers as bench_plan reads them */
    const char *n_prompt, *n_gen, *prompt_gen, *n_depth, *sequences;
    const char *route_trace, *file;
    uint32_t repetitions, output; /* 0: md, 1: json */
    bool warmup;
    /* all */
    bool json;
    const char *text, *connect;
    bool tls, insecure; /* health */
    const char *ca;
    uint32_t log_level, status_interval;
    const char *log_file;
    bool log_jsonl;
    const char *config_file;

    enum config_source source[CONFIG_FLAGS_MAX]; /* by index in the table */
    char **owned; /* texts from the file */
    uint32_t owned_count;
};

/* argv[0] is the first word after the subcommand. `environment` is like environ, may be NULL.
 * INVALID: a sentence naming the flag, variable or file line, and the nearest right one.
 * NOT_FOUND, IO: the --config file. */
enum status config_parse(struct config *config, enum config_command command, int argc,
                         const char *const *argv, char *const *environment, struct error *error);
void config_close(struct config *config); /* accepts a zeroed one */

/* True if `entry` ("NAME=value") sets a MOERING_ variable that is no setting's and not one of those
 * that the scripts, the tests and the built-in model use: `out` is a sentence about it, which names
 * the nearest right one. Empty values are unset ones. */
bool config_variable_stray(const char *entry, char *out, size_t out_bytes);
/* Where the value of a flag came from; CHECKs that the table has it. */
enum config_source config_source_of(const struct config *config, const char *flag);
/* Everything that `moering COMMAND` accepts. */
void config_help(enum config_command command, FILE *out);
/* The effective values: one line each, with their source. */
void config_print(const struct config *config, FILE *out);

/* Sets one value by name; for config_file.c. `where` begins the error sentence. */
enum status config_set(struct config *config, const char *name, const char *value,
                       enum config_source source, const char *where, struct error *error);
/* Reads one YAML mapping of flag names to plain values, each name once. */
enum status config_file_read(struct config *config, const char *path, struct error *error);
/* A number of bytes as flags take it: "1048576", "64MiB". INVALID: the sentence begins with
 * `where`. */
enum status config_bytes(const char *where, const char *text, uint64_t *out, struct error *error);
/* Names of the flags whose values differ in two configurations of one command; their number.
 * names[CONFIG_FLAGS_MAX]. */
uint32_t config_changed(const struct config *a, const struct config *b, const char **names);
/* Keeps a copy of `text` alive as long as the config. NULL: out of memory. */
const char *config_keep(struct config *config, const char *text);

/* The name in `names` (NULL-terminated) with the least edit distance to `wrong`; NULL: no names. */
const char *config_nearest(const char *wrong, const char *const *names);

#ifdef __cplusplus
}
#endif
#endif
