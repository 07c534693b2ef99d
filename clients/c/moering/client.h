/* The C client of a moering server: generate, chat, tokenize, look at the model and its figures,
 * change the memory budget. Everything is blocking; one thread at a time uses a client, but for
 * moering_cancel.
 *
 *     struct moering_options options = MOERING_OPTIONS_INIT;
 *     struct moering_error error;
 *     struct moering_client *client;
 *     if (moering_open(&client, &options, &error) != MOERING_OK)
 *         fprintf(stderr, "%s\n", error.message);
 *
 * Functions that can fail return a status, MOERING_OK or one of gRPC's, and then fill `error`,
 * which may be NULL; with MOERING_OK it stays as it was. Structs that the caller fills begin with
 * their size: fill them with their _INIT first, so that programs outlive newer versions of this
 * library. What is passed in stays the caller's and need not outlive the function; what a client
 * hands out is freed by moering_free, or as said. Clients share nothing: each thread may have its
 * own. No signal is set or raised. */
#ifndef MOERING_CLIENT_H
#define MOERING_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MOERING_API __attribute__((visibility("default")))
#else
#define MOERING_API
#endif

enum moering_status {
    MOERING_OK = 0,
    MOERING_CANCELLED = 1,
    MOERING_UNKNOWN = 2,
    MOERING_INVALID_ARGUMENT = 3,
    MOERING_DEADLINE_EXCEEDED = 4,
    MOERING_NOT_FOUND = 5,
    MOERING_RESOURCE_EXHAUSTED = 8, /* the server's queue or some memory is full: try again later */
    MOERING_FAILED_PRECONDITION = 9,
    MOERING_ABORTED = 10,
    MOERING_UNIMPLEMENTED = 12,
    MOERING_INTERNAL = 13,
    MOERING_UNAVAILABLE = 14, /* no server there, or it loads or shuts down: try again later */
    MOERING_UNAUTHENTICATED = 16
};

struct moering_error {
    int status; /* enum moering_status; a server may send others of gRPC's */
    char message[512];
};

MOERING_API const char *moering_status_name(int status); /* "UNAVAILABLE" */
MOERING_API const char *moering_version(void);           /* of this library */
MOERING_API void moering_free(void *memory);             /* accepts NULL */

/* ---- a client ---- */

struct moering_client;

struct moering_options {
    size_t size;
    const char *address;     /* HOST:PORT of the gRPC port */
    uint32_t connect_ms;     /* at most, for connecting */
    uint32_t call_ms;        /* deadline of each call; 0: none */
    bool tls;
    const char *ca_file;     /* PEM, only with tls: whom to trust; NULL: as the system says */
    bool insecure;           /* only with tls: do not ask whose certificate it is */
    const char *api_key;     /* NULL: none */
};
#define MOERING_OPTIONS_INIT \
    {sizeof(struct moering_options), "127.0.0.1:8001", 5000, 0, false, NULL, false, NULL}

/* Connects, for which it waits `connect_ms` at most, looking the name up aside. A connection that
 * is lost later is opened again by the next call. `options` NULL: the defaults. On failure *out is
 * NULL: MOERING_INVALID_ARGUMENT where no further attempt would help, MOERING_UNAVAILABLE. */
MOERING_API int moering_open(struct moering_client **out, const struct moering_options *options,
                             struct moering_error *error);
MOERING_API void moering_close(struct moering_client *client); /* accepts NULL */
/* Ends the call under way with MOERING_CANCELLED, on the server too; if there is none, the next
 * one. Any thread or signal handler may call it. */
MOERING_API void moering_cancel(struct moering_client *client);

/* ---- text ---- */

enum moering_finish { MOERING_FINISH_NONE = 0, MOERING_FINISH_STOP = 1, MOERING_FINISH_LENGTH = 2 };

/* A part of an answer; valid during the callback. */
struct moering_chunk {
    const char *text;        /* whole UTF-8 characters, not terminated */
    size_t text_bytes;
    const uint32_t *tokens;
    size_t token_count;
};
/* False: cancel the call. It runs in the thread that called; while it runs nothing is read, so a
 * slow one slows the server down. It may not use its client, but for moering_cancel. */
typedef bool moering_on_chunk(void *arg, const struct moering_chunk *chunk);

struct moering_sampling {
    size_t size;
    float temperature;       /* 0: the likeliest token */
    uint32_t top_k;          /* 0: all */
    float top_p, min_p;
    float repetition_penalty, presence_penalty, frequency_penalty;
    bool has_seed;           /* else the server draws one */
    uint64_t seed;
    bool has_max_tokens;     /* else as many as fit */
    uint32_t max_tokens, min_tokens;
    bool ignore_eos;
    const char *const *stop; /* texts that end the output */
    size_t stop_count;
    int32_t priority;        /* higher first */
    const char *model;       /* NULL: the one that is served */
    const char *request_id;  /* for the server's log; NULL: none */
};
#define MOERING_SAMPLING_INIT                                                                     \
    {sizeof(struct moering_sampling), 1, 0, 1, 0, 1, 0, 0, false, 0, false, 0, 0, false, NULL, 0, \
     0, NULL, NULL}

struct moering_result {
    int finish;              /* enum moering_finish */
    uint32_t prompt_tokens, completion_tokens;
    double queue_ms, prefill_ms, decode_ms;
    uint64_t expert_hits, expert_misses, expert_bytes;
    double expert_stall_ms;
};

/* Continues a text of UTF-8, which may hold zeros. Returns when all of the answer has come; what
 * came before a failure was handed to `on_chunk`, which may be NULL. `sampling` NULL: the defaults.
 * *result, which may be NULL, is filled with MOERING_OK, and zero otherwise. */
MOERING_API int moering_generate(struct moering_client *client, const char *text, size_t text_bytes,
                                 const struct moering_sampling *sampling,
                                 moering_on_chunk *on_chunk, void *arg,
                                 struct moering_result *result, struct moering_error *error);
/* The same from token ids. */
MOERING_API int moering_generate_ids(struct moering_client *client, const uint32_t *ids,
                                     size_t count, const struct moering_sampling *sampling,
                                     moering_on_chunk *on_chunk, void *arg,
                                     struct moering_result *result, struct moering_error *error);

struct moering_message {
    const char *role;        /* "system", "user", "assistant" */
    const char *content;     /* UTF-8, terminated */
};
/* Answers a conversation, in its order, as moering_generate does. MOERING_FAILED_PRECONDITION: the
 * model has no tokenizer. */
MOERING_API int moering_chat(struct moering_client *client, const struct moering_message *messages,
                             size_t count, const struct moering_sampling *sampling,
                             moering_on_chunk *on_chunk, void *arg, struct moering_result *result,
                             struct moering_error *error);

/* `add_special`: with the tokens that begin a prompt of this model. *ids is freed by moering_free;
 * NULL on failure. */
MOERING_API int moering_tokenize(struct moering_client *client, const char *text, size_t text_bytes,
                                 bool add_special, uint32_t **ids, size_t *count,
                                 struct moering_error *error);
/* *text is terminated, may hold zeros and parts of characters, and is freed by moering_free; NULL
 * on failure. */
MOERING_API int moering_detokenize(struct moering_client *client, const uint32_t *ids, size_t count,
                                   bool keep_special, char **text, size_t *bytes,
                                   struct moering_error *error);

/* ---- the server ---- */

struct moering_model {
    char name[256], architecture[64], backend[128], version[64]; /* cut if longer */
    uint32_t layers, experts_per_layer, experts_per_token;
    uint32_t vocab_size, max_model_len;
    uint64_t parameters, active_parameters, expert_bytes;
};
MOERING_API int moering_get_model(struct moering_client *client, struct moering_model *out,
                                  struct moering_error *error);

struct moering_stats {
    double uptime_s;
    uint32_t requests_running, requests_waiting;
    uint64_t requests_finished, requests_cancelled, requests_failed, requests_rejected;
    uint64_t prompt_tokens, generation_tokens, steps;
    uint64_t expert_hits, expert_misses, expert_bytes, evictions;
    uint64_t prefetch_issued, prefetch_used, prefetch_wasted;
    uint32_t kv_blocks_used, kv_blocks;
    uint32_t device_slots, device_pages, host_slots, host_pages; /* pages: resident */
};
MOERING_API int moering_get_stats(struct moering_client *client, struct moering_stats *out,
                                  struct moering_error *error);

/* Sizes as the server's flags of these names take them ("25%", "4GiB", "auto"); NULL: unchanged. */
struct moering_budget {
    size_t size;
    const char *device_experts, *host_experts, *kv_cache_bytes;
};
#define MOERING_BUDGET_INIT {sizeof(struct moering_budget), NULL, NULL, NULL}

struct moering_sizes {
    uint32_t device_slots, host_slots, kv_blocks;
    uint64_t device_bytes, host_bytes, kv_bytes;
};
/* Gives experts and KV cache other amounts of memory while requests run. On failure nothing has
 * changed: MOERING_INVALID_ARGUMENT for a size that is none or too small,
 * MOERING_RESOURCE_EXHAUSTED for more than there is. `before` and `after` may be NULL. */
MOERING_API int moering_set_budget(struct moering_client *client,
                                   const struct moering_budget *budget,
                                   struct moering_sizes *before, struct moering_sizes *after,
                                   struct moering_error *error);

#ifdef __cplusplus
}
#endif
#endif
