#include "engine/step_sampler.h"

#include <stdlib.h>
#include <string.h>

#include "engine/sequence.h"

#define NOT_WANTED UINT32_MAX

enum status step_sampler_open(struct step_sampler *s, struct transformer *transformer,
                              uint32_t items_max, uint32_t vocab, struct error *error)
{
    size_t items = items_max;
    *s = (struct step_sampler){.transformer = transformer, .items_max = items_max, .vocab = vocab};
    s->logits = malloc(items * vocab * sizeof *s->logits);
    s->candidates = malloc(vocab * sizeof *s->candidates);
    s->draws = malloc(items * sizeof *s->draws);
    s->rows = malloc(4 * items * sizeof *s->rows);
    if (s->logits && s->candidates && s->draws && s->rows) {
        s->row_of = s->rows + items;
        s->drawn_item = s->row_of + items;
        s->drawn = s->drawn_item + items;
        return STATUS_OK;
    }
    step_sampler_close(s);
    return error_set(error, STATUS_NO_MEMORY, "no memory for the logits; lower --max-num-seqs");
}

void step_sampler_close(struct step_sampler *s)
{
    free(s->logits);
    free(s->candidates);
    free(s->draws);
    free(s->rows);
    memset(s, 0, sizeof *s);
}

void step_sampler_logits(struct step_sampler *s, const struct step_item *item, uint32_t first_row)
{
    for (uint32_t done = 0; done < item->tokens; done += s->items_max) {
        uint32_t left = item->tokens - done, n = left < s->items_max ? left : s->items_max;
        for (uint32_t i = 0; i < n; i++)
            s->rows[i] = first_row + done + i;
        transformer_logits(s->transformer, s->rows, n, item->logits + (size_t)done * s->vocab);
    }
}

enum status step_sampler_score(struct step_sampler *s, const struct step_item *item,
                               uint32_t first_row, struct error *error)
{
    const struct sequence *sequence = item->sequence;
    for (uint32_t done = 0; done < item->score_count; done += s->items_max) {
        uint32_t left = item->score_count - done, n = left < s->items_max ? left : s->items_max;
        uint32_t first = item->score_from + done;
        const uint32_t *following = sequence->tokens + sequence->computed + first + 1;
        for (uint32_t i = 0; i < n; i++)
            s->rows[i] = first_row + first + i;
        transformer_logits(s->transformer, s->rows, n, s->logits);
        for (uint32_t i = 0; i < n; i++) {
            enum status status =
                sampler_score(sequence->sampler, s->logits + (size_t)i * s->vocab, following[i],
                              &item->scored[done + i], error);
            if (status != STATUS_OK)
                return status;
        }
    }
    return STATUS_OK;
}

/* Takes what the device can draw off row_of. */
static void draw_on_device(struct step_sampler *s, const struct step_item *items, uint32_t count,
                           struct step_output *outputs, struct error *error)
{
    uint32_t wanted = 0;
    if (!transformer_draws(s->transformer))
        return;
    for (uint32_t i = 0; i < count; i++) {
        if (s->row_of[i] == NOT_WANTED || items[i].banned_count > 0 || items[i].allowed ||
            !sampler_draw(items[i].sequence->sampler, &s->draws[wanted]))
            continue;
        s->drawn_item[wanted] = i;
        s->rows[wanted++] = s->row_of[i];
        s->row_of[i] = NOT_WANTED;
    }
    if (wanted > 0)
        transformer_draw(s->transformer, s->rows, s->draws, wanted, s->drawn);
    for (uint32_t n = 0; n < wanted; n++) {
        struct step_output *out = &outputs[s->drawn_item[n]];
        out->token = (struct sampled){.token = s->drawn[n]};
        out->sampled = s->drawn[n] != DRAW_NONE;
        if (!out->sampled)
            out->status = error_set(error, STATUS_INTERNAL,
                                    "no token can be drawn: the logits hold a NaN or an infinity, "
                                    "or every token is excluded");
    }
}

static void draw_here(struct step_sampler *s, const struct step_item *items, uint32_t count,
                      struct step_output *outputs, struct error *error)
{
    uint32_t wanted = 0;
    for (uint32_t i = 0; i < count; i++)
        if (s->row_of[i] != NOT_WANTED)
            s->rows[wanted++] = s->row_of[i];
    if (wanted > 0)
        transformer_logits(s->transformer, s->rows, wanted, s->logits);
    float *logits = s->logits;
    for (uint32_t i = 0; i < count; i++) {
        struct step_output *out = &outputs[i];
        if (s->row_of[i] == NOT_WANTED)
            continue;
        struct sampler_rule rule = {items[i].banned, items[i].banned_count, items[i].allowed};
        out->status = sampler_sample(items[i].sequence->sampler, logits, &rule, s->candidates,
                                     &out->token, error);
        out->sampled = out->status == STATUS_OK;
        logits += s->vocab;
    }
}

void step_sampler_draw(struct step_sampler *s, const struct step_item *items, uint32_t count,
                       struct step_output *outputs, struct error *error)
{
    uint32_t row = 0;
    for (uint32_t i = 0; i < count; row += items[i++].tokens) {
        const struct sequence *sequence = items[i].sequence;
        bool caught_up = sequence->computed + items[i].tokens == sequence->count;
        bool wanted = caught_up && !items[i].no_token && outputs[i].status == STATUS_OK;
        s->row_of[i] = wanted ? row + items[i].tokens - 1 : NOT_WANTED;
    }
    draw_on_device(s, items, count, outputs, error);
    draw_here(s, items, count, outputs, error);
}
