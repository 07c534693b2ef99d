/* Operations are counted from below where the engine does not say: a share of the parameters that
 * cannot be told from an embedding table is left out, so a bound is never too slow. */
#include "server/bench/bench_figures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Mean and deviation of [count] values. */
static void moments(const double *values, uint32_t count, double *mean, double *deviation)
{
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += values[i];
    *mean = sum / count;
    for (uint32_t i = 0; i < count; i++)
        squares += (values[i] - *mean) * (values[i] - *mean);
    *deviation = count > 1 ? sqrt(squares / (count - 1)) : 0;
}

static double middle(const double *sorted, uint32_t count)
{
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

void bench_speed_of(const uint64_t *samples_ns, uint32_t count, double tokens, double *spare,
                    struct bench_speed *out)
{
    CHECK(count > 0);
    for (uint32_t i = 0; i < count; i++)
        spare[i] = (double)samples_ns[i];
    moments(spare, count, &out->avg_ns, &out->stddev_ns);
    qsort(spare, count, sizeof *spare, ascending);
    out->median_ns = middle(spare, count);
    for (uint32_t i = 0; i < count; i++)
        spare[i] = tokens * 1e9 / spare[i];
    moments(spare, count, &out->avg_ts, &out->stddev_ts);
    qsort(spare, count, sizeof *spare, ascending);
    out->median_ts = middle(spare, count);
    out->min_ts = spare[0];
    out->max_ts = spare[count - 1];
}

/* Weights of one token's layers: what is left of the active parameters without the embedding table
 * and without the head (which only sampled rows use). Where both may be one table, and where they
 * may not, is told by whether the rest still holds what a layer needs. */
static double body_parameters(const struct engine_info *info)
{
    double table = (double)info->vocab * info->hidden, heads = info->head_dim;
    double layer = heads * info->hidden * (2.0 * info->heads + 2.0 * info->kv_heads) +
                   (double)info->hidden * info->experts +
                   3.0 * info->top_k * info->hidden * info->expert_width;
    double rest = (double)info->active_parameters - 2 * table;
    return rest >= layer * info->layers ? rest : rest + table;
}

/* Whether any expert is in a block format: names of plain ones are the only others. */
static bool in_blocks(const char *dtypes)
{
    static const char *const plain[] = {"F32", "F16", "BF16"};
    for (const char *at = dtypes; *at;) {
        size_t bytes = strcspn(at, "+");
        bool is_plain = false;
        for (unsigned i = 0; i < 3; i++)
            is_plain |= strlen(plain[i]) == bytes && strncmp(at, plain[i], bytes) == 0;
        if (!is_plain)
            return true;
        at += bytes + (at[bytes] == '+');
    }
    return false;
}

void bench_work_of(const struct engine_info *info, const struct bench_totals *totals, bool exact,
                   struct bench_work *out)
{
    double page = info->pages ? (double)info->page_bytes_total / info->pages : 0;
    double dense = (double)info->token_bytes - page * info->layers * info->top_k;
    double kv_tokens = (double)info->kv_blocks * info->kv_block_tokens;
    double kv_token = kv_tokens > 0 ? (double)info->kv_bytes / kv_tokens : 0;
    double asked = (double)(totals->usage.hits + totals->usage.misses);
    *out = (struct bench_work){
        .bytes = (dense > 0 ? dense : 0) * (double)totals->steps + page * asked +
                 kv_token * (double)totals->attended_alone,
        .weight_ops = 2 * body_parameters(info) * (double)totals->rows +
                      2.0 * info->vocab * info->hidden * (double)totals->sampled,
        .attention_ops = 4.0 * info->heads * info->head_dim * info->layers *
                         (double)totals->attended,
        .storage_bytes = (double)totals->storage_bytes,
        .int8 = in_blocks(info->weight_dtype) && !exact,
    };
}

static void slower(struct bench_bound *bound, double amount, double rate, const char *by)
{
    double ns = rate > 0 ? amount * 1e9 / rate : 0;
    if (ns > bound->ns)
        *bound = (struct bench_bound){ns, by};
}

struct bench_bound bench_bound_of(const struct bench_work *work, const struct bench_rates *rates)
{
    struct bench_bound bound = {0, ""};
    double peak = work->int8 ? rates->int8 : rates->f32;
    slower(&bound, work->bytes, rates->memory, "memory");
    slower(&bound, work->storage_bytes, rates->storage, "storage");
    if (peak > 0 && rates->f32 > 0)
        slower(&bound, work->weight_ops / peak + work->attention_ops / rates->f32, 1, "arithmetic");
    return bound;
}
