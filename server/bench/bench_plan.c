/* Lists are short and read once: each number of a flag is parsed where it stands, a mistake names
 * the flag and shows its value. Numbers are bounded so that sums of them stay within 32 bits. */
#include "server/bench/bench_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX (1u << 24)
#define SEQUENCES_MAX 4096
#define LIST_MAX 16

struct list {
    uint32_t at[LIST_MAX];
    uint32_t count;
};

/* The number at *text, which ends at one of `ends` or at the end; *text moves to that. */
static bool parse_number(const char **text, const char *ends, uint32_t *out)
{
    char *end;
    if (**text < '0' || **text > '9')
        return false;
    errno = 0;
    unsigned long n = strtoul(*text, &end, 10);
    if (errno || n > NUMBER_MAX || (*end && !strchr(ends, *end)))
        return false;
    *out = (uint32_t)n;
    *text = end;
    return true;
}

static enum status parse_list(const char *flag, const char *text, uint32_t max, struct list *out,
                              struct error *error)
{
    const char *at = text;
    out->count = 0;
    for (;;) {
        uint32_t n;
        if (out->count == LIST_MAX || !parse_number(&at, ",", &n) || n > max)
            return error_set(error, STATUS_INVALID,
                             "--%s: '%.40s' is no list of up to %d numbers such as 1,2,3, each %u "
                             "at most", flag, text, LIST_MAX, max);
        out->at[out->count++] = n;
        if (!*at)
            return STATUS_OK;
        at++;
    }
}

static enum status add_test(struct bench_plan *plan, struct bench_test test, struct error *error)
{
    uint32_t positions = test.depth + test.prompt + test.gen + 1;
    if (plan->count == BENCH_TESTS_MAX)
        return error_set(error, STATUS_INVALID, "these lists make more than %d tests",
                         BENCH_TESTS_MAX);
    plan->tests[plan->count++] = test;
    if (positions > plan->positions_max)
        plan->positions_max = positions;
    if (test.sequences > plan->sequences_max)
        plan->sequences_max = test.sequences;
    return STATUS_OK;
}

/* "512,128;1024,64": a test for each pair. */
static enum status add_pairs(struct bench_plan *plan, const char *text, uint32_t depth,
                             struct error *error)
{
    enum status status = STATUS_OK;
    for (const char *at = text; at && *at && status == STATUS_OK; at += *at == ';') {
        struct bench_test test = {.depth = depth, .sequences = 1};
        bool good = parse_number(&at, ",", &test.prompt) && *at == ',';
        at += good;
        if (!good || !parse_number(&at, ";", &test.gen) || !test.prompt || !test.gen)
            return error_set(error, STATUS_INVALID,
                             "--prompt-gen: '%.40s' is no list of pairs such as 512,128;1024,64",
                             text);
        status = add_test(plan, test, error);
    }
    return status;
}

static enum status add_depth(struct bench_plan *plan, const struct list *prompts,
                             const struct list *gens, const struct list *sequences, uint32_t depth,
                             struct error *error)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < prompts->count && status == STATUS_OK; i++)
        if (prompts->at[i])
            status = add_test(plan,
                              (struct bench_test){
                                  .prompt = prompts->at[i], .depth = depth, .sequences = 1},
                              error);
    for (uint32_t i = 0; i < gens->count; i++)
        for (uint32_t s = 0; s < sequences->count && status == STATUS_OK; s++)
            if (gens->at[i])
                status = add_test(plan,
                                  (struct bench_test){.gen = gens->at[i],
                                                      .depth = depth,
                                                      .sequences = sequences->at[s]},
                                  error);
    return status;
}

enum status bench_plan_make(struct bench_plan *plan, const struct config *config,
                            struct error *error)
{
    struct list prompts, gens, depths, sequences;
    *plan = (struct bench_plan){0};
    enum status status = parse_list("n-prompt", config->n_prompt, NUMBER_MAX, &prompts, error);
    if (status == STATUS_OK)
        status = parse_list("n-gen", config->n_gen, NUMBER_MAX, &gens, error);
    if (status == STATUS_OK)
        status = parse_list("n-depth", config->n_depth, NUMBER_MAX, &depths, error);
    if (status == STATUS_OK)
        status = parse_list("sequences", config->sequences, SEQUENCES_MAX, &sequences, error);
    for (uint32_t i = 0; status == STATUS_OK && i < sequences.count; i++)
        if (!sequences.at[i])
            status = error_set(error, STATUS_INVALID, "--sequences: 0 sequences generate nothing");
    for (uint32_t i = 0; status == STATUS_OK && i < depths.count; i++) {
        status = add_depth(plan, &prompts, &gens, &sequences, depths.at[i], error);
        if (status == STATUS_OK)
            status = add_pairs(plan, config->prompt_gen, depths.at[i], error);
    }
    if (status == STATUS_OK && !plan->count)
        status = error_set(error, STATUS_INVALID,
                           "nothing to measure: --n-prompt, --n-gen and --prompt-gen are all "
                           "empty");
    return status;
}

const char *bench_test_name(const struct bench_test *test, char *out, size_t out_bytes)
{
    char prompt[16] = "", gen[16] = "", sequences[16] = "", depth[16] = "";
    if (test->prompt)
        snprintf(prompt, sizeof prompt, "pp%u", test->prompt);
    if (test->gen)
        snprintf(gen, sizeof gen, "%stg%u", test->prompt ? "+" : "", test->gen);
    if (test->sequences > 1)
        snprintf(sequences, sizeof sequences, " x%u", test->sequences);
    if (test->depth)
        snprintf(depth, sizeof depth, " @ d%u", test->depth);
    snprintf(out, out_bytes, "%s%s%s%s", prompt, gen, sequences, depth);
    return out;
}
