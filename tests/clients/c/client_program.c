/* Uses every function of libmoering-client, as a program that knows nothing but its installed
 * header. It is compiled and run by tests/e2e/client_library_test.py:
 *
 *     client_program HOST:PORT [CA-FILE]        exits with 0, or names the line that failed */
#include <moering/client.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPECT(what)                                                             \
    do {                                                                         \
        if (!(what)) {                                                           \
            fprintf(stderr, "line %d: %s; %s\n", __LINE__, #what, error.message); \
            exit(1);                                                             \
        }                                                                        \
    } while (0)

struct gathered {
    char text[65536];
    size_t bytes;
    size_t tokens, chunks;
    size_t chunks_max; /* then it cancels; 0: never */
};

static bool gather(void *arg, const struct moering_chunk *chunk)
{
    struct gathered *g = arg;
    if (g->bytes + chunk->text_bytes >= sizeof g->text)
        return false;
    memcpy(g->text + g->bytes, chunk->text, chunk->text_bytes);
    g->bytes += chunk->text_bytes;
    g->text[g->bytes] = '\0';
    g->tokens += chunk->token_count;
    return ++g->chunks != g->chunks_max;
}

static struct moering_error error;
static struct gathered first, second;

static void texts(struct moering_client *c, const struct moering_sampling *s)
{
    static const char prompt[] = "sort: 3 1 2";
    struct moering_result r;
    uint32_t *ids;
    size_t count, bytes;
    char *text;
    EXPECT(moering_tokenize(c, prompt, strlen(prompt), true, &ids, &count, &error) == MOERING_OK);
    EXPECT(count > 0);
    EXPECT(moering_detokenize(c, ids, count, false, &text, &bytes, &error) == MOERING_OK);
    EXPECT(strcmp(text, prompt) == 0 && bytes == strlen(prompt));
    EXPECT(moering_generate(c, prompt, strlen(prompt), s, gather, &first, &r, &error) ==
           MOERING_OK);
    EXPECT(first.tokens == s->max_tokens && r.completion_tokens == s->max_tokens);
    EXPECT(r.finish == MOERING_FINISH_LENGTH && r.prompt_tokens == count && r.decode_ms > 0);
    EXPECT(r.expert_hits + r.expert_misses > 0);
    EXPECT(moering_generate_ids(c, ids, count, s, gather, &second, NULL, NULL) == MOERING_OK);
    EXPECT(strcmp(first.text, second.text) == 0);
    moering_free(text);
    moering_free(ids);

    const struct moering_message talk[] = {{"system", "x"}, {"user", "y"}};
    EXPECT(moering_chat(c, talk, 2, s, NULL, NULL, &r, &error) == MOERING_OK);
    EXPECT(r.completion_tokens == s->max_tokens);
    EXPECT(moering_chat(c, talk, 0, s, NULL, NULL, &r, &error) == MOERING_INVALID_ARGUMENT);
    EXPECT(error.status == MOERING_INVALID_ARGUMENT && strstr(error.message, "0 messages"));
}

static void server(struct moering_client *c)
{
    struct moering_model model;
    struct moering_stats stats;
    struct moering_budget budget = MOERING_BUDGET_INIT;
    struct moering_sizes before, after;
    EXPECT(moering_get_model(c, &model, &error) == MOERING_OK);
    EXPECT(*model.name && model.vocab_size == 512 && model.layers > 0);
    EXPECT(strcmp(model.version, moering_version()) == 0);
    EXPECT(moering_get_stats(c, &stats, &error) == MOERING_OK);
    EXPECT(stats.requests_finished >= 3 && stats.kv_blocks > 0 && stats.device_slots > 0);
    EXPECT(moering_set_budget(c, &budget, NULL, NULL, &error) == MOERING_INVALID_ARGUMENT);
    budget.device_experts = "50%";
    EXPECT(moering_set_budget(c, &budget, &before, &after, &error) == MOERING_OK);
    EXPECT(after.device_slots < before.device_slots && after.kv_blocks == before.kv_blocks);
}

static void *cancel_soon(void *client)
{
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    moering_cancel(client);
    return NULL;
}

static void cancels(struct moering_client *c)
{
    struct moering_sampling s = MOERING_SAMPLING_INIT;
    struct moering_result r;
    pthread_t thread;
    s.ignore_eos = true;
    first.bytes = first.chunks = 0;
    first.chunks_max = 2;
    EXPECT(moering_generate(c, "x", 1, &s, gather, &first, &r, &error) == MOERING_CANCELLED);
    EXPECT(r.finish == MOERING_FINISH_NONE && first.chunks == 2);
    EXPECT(pthread_create(&thread, NULL, cancel_soon, c) == 0);
    EXPECT(moering_generate(c, "x", 1, &s, NULL, NULL, &r, &error) == MOERING_CANCELLED);
    pthread_join(thread, NULL);
    s.has_max_tokens = true;
    s.max_tokens = 2;
    EXPECT(moering_generate(c, "x", 1, &s, NULL, NULL, &r, &error) == MOERING_OK);
}

static bool ask_inside(void *client, const struct moering_chunk *chunk)
{
    struct moering_model m;
    (void)chunk;
    return moering_get_model(client, &m, &error) == MOERING_FAILED_PRECONDITION;
}

static void callers_mistakes(struct moering_client *c)
{
    struct moering_options plain = MOERING_OPTIONS_INIT;
    struct moering_sampling s = MOERING_SAMPLING_INIT;
    struct moering_client *none;
    struct moering_model m;
    s.has_max_tokens = s.ignore_eos = true;
    s.max_tokens = 3;
    EXPECT(moering_generate(c, "x", 1, &s, ask_inside, c, NULL, &error) == MOERING_OK);
    EXPECT(moering_get_model(c, &m, &error) == MOERING_OK);
    plain.ca_file = "/dev/null"; /* without tls nobody would look at it */
    EXPECT(moering_open(&none, &plain, &error) == MOERING_INVALID_ARGUMENT && !none);
    EXPECT(strstr(error.message, "tls"));
}

int main(int argc, char **argv)
{
    struct moering_options options = MOERING_OPTIONS_INIT;
    struct moering_sampling s = MOERING_SAMPLING_INIT;
    struct moering_client *c;
    const char *stops[] = {"zzzz"};
    options.address = argv[1];
    options.tls = argc > 2;
    options.ca_file = argc > 2 ? argv[2] : NULL;
    EXPECT(moering_open(&c, &options, &error) == MOERING_OK);
    s.temperature = 0;
    s.has_max_tokens = s.ignore_eos = true;
    s.max_tokens = 9;
    s.stop = stops;
    s.stop_count = 1;
    s.request_id = "library";
    texts(c, &s);
    server(c);
    cancels(c);
    callers_mistakes(c);
    s.size = sizeof s + 8;
    EXPECT(moering_generate(c, "x", 1, &s, NULL, NULL, NULL, &error) == MOERING_INVALID_ARGUMENT);
    moering_close(c);

    options.call_ms = 20;
    EXPECT(moering_open(&c, &options, &error) == MOERING_OK);
    s = (struct moering_sampling)MOERING_SAMPLING_INIT;
    s.ignore_eos = true;
    EXPECT(moering_generate(c, "x", 1, &s, NULL, NULL, NULL, &error) == MOERING_DEADLINE_EXCEEDED);
    moering_close(c);

    options.address = "127.0.0.1:1";
    EXPECT(moering_open(&c, &options, &error) == MOERING_UNAVAILABLE && !c);
    EXPECT(strcmp(moering_status_name(error.status), "UNAVAILABLE") == 0);
    options.size = 0;
    EXPECT(moering_open(&c, &options, NULL) == MOERING_INVALID_ARGUMENT);
    moering_close(NULL);
    moering_free(NULL);
    return 0;
}
