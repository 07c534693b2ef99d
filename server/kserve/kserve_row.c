#include "server/kserve/kserve_row.h"

#include <stdlib.h>
#include <string.h>

void kserve_row_reset(struct kserve_row *row)
{
    free(row->text);
    free(row->ids);
    free(row->log_probs);
    *row = (struct kserve_row){0};
}

bool kserve_row_add_text(struct kserve_row *row, const char *text, size_t bytes)
{
    if (bytes > row->text_capacity - row->text_bytes) {
        size_t capacity = 2 * (row->text_bytes + bytes);
        char *grown = realloc(row->text, capacity);
        if (!grown)
            return false;
        row->text = grown;
        row->text_capacity = capacity;
    }
    if (bytes)
        memcpy(row->text + row->text_bytes, text, bytes);
    row->text_bytes += bytes;
    return true;
}

static bool reserve_ids(struct kserve_row *row, uint32_t more)
{
    if (more <= row->id_capacity - row->id_count)
        return true;
    uint32_t capacity = 2 * (row->id_count + more);
    int32_t *grown = realloc(row->ids, capacity * sizeof *grown);
    if (!grown)
        return false;
    row->ids = grown;
    row->id_capacity = capacity;
    return true;
}

static bool reserve_log_probs(struct kserve_row *row, uint32_t more)
{
    if (more <= row->log_prob_capacity - row->log_prob_count)
        return true;
    uint32_t capacity = 2 * (row->log_prob_count + more);
    float *grown = realloc(row->log_probs, capacity * sizeof *grown);
    if (!grown)
        return false;
    row->log_probs = grown;
    row->log_prob_capacity = capacity;
    return true;
}

bool kserve_row_add_prompt(struct kserve_row *row, const uint32_t *ids, uint32_t count)
{
    if (!reserve_ids(row, count))
        return false;
    for (uint32_t i = 0; i < count; i++)
        row->ids[row->id_count++] = (int32_t)ids[i];
    return true;
}

bool kserve_row_add(struct kserve_row *row, const struct request_event *e)
{
    if (!kserve_row_add_text(row, e->text, e->text_bytes) || !reserve_ids(row, e->token_count) ||
        !reserve_log_probs(row, e->token_count))
        return false;
    for (uint32_t i = 0; i < e->token_count; i++) {
        row->ids[row->id_count++] = (int32_t)e->tokens[i].token;
        row->log_probs[row->log_prob_count++] = e->tokens[i].logprob;
        row->log_prob_sum += (double)e->tokens[i].logprob;
    }
    if (e->finish == FINISH_NONE)
        return true;
    row->finish_reason = e->finish == FINISH_STOP ? "stop" : "length";
    row->input_tokens = e->usage.prompt_tokens;
    row->output_tokens = e->usage.completion_tokens;
    return true;
}

void kserve_row_sent(struct kserve_row *row)
{
    row->text_bytes = 0;
    row->id_count = row->log_prob_count = 0;
}
