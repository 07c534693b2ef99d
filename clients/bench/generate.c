#include "clients/bench/generate.h"

#include <moering/v1/moering.pb-c.h>
#include <stdlib.h>

enum { PREFIX_BYTES = 5 };

uint8_t *generate_request(const struct generate_style *style, const struct prompt *prompt,
                          size_t *bytes)
{
    Moering__V1__GenerateRequest request = MOERING__V1__GENERATE_REQUEST__INIT;
    Moering__V1__SamplingParams sampling = MOERING__V1__SAMPLING_PARAMS__INIT;
    Moering__V1__TokenIds ids = MOERING__V1__TOKEN_IDS__INIT;
    if (style->model)
        request.model = (char *)style->model;
    if (prompt->text) {
        request.prompt_case = MOERING__V1__GENERATE_REQUEST__PROMPT_TEXT;
        request.text.data = (uint8_t *)prompt->text;
        request.text.len = prompt->text_bytes;
    } else {
        request.prompt_case = MOERING__V1__GENERATE_REQUEST__PROMPT_TOKENS;
        ids.ids = prompt->ids;
        ids.n_ids = prompt->id_count;
        request.tokens = &ids;
    }
    if (style->has_temperature) {
        sampling._temperature_case = MOERING__V1__SAMPLING_PARAMS___TEMPERATURE_TEMPERATURE;
        sampling.temperature = (float)style->temperature;
        request.sampling = &sampling;
    }
    request._max_tokens_case = MOERING__V1__GENERATE_REQUEST___MAX_TOKENS_MAX_TOKENS;
    request.max_tokens = prompt->output_tokens;
    request.ignore_eos = style->ignore_eos;
    size_t size = moering__v1__generate_request__get_packed_size(&request);
    uint8_t *out = malloc(PREFIX_BYTES + size);
    if (!out)
        return NULL;
    out[0] = 0; /* not compressed */
    for (int i = 0; i < 4; i++)
        out[1 + i] = (uint8_t)(size >> (24 - 8 * i));
    moering__v1__generate_request__pack(&request, out + PREFIX_BYTES);
    *bytes = PREFIX_BYTES + size;
    return out;
}

bool generate_chunk(const uint8_t *message, size_t bytes, uint64_t now_ns, struct record *record,
                    bool *last)
{
    Moering__V1__GenerateChunk *chunk = moering__v1__generate_chunk__unpack(NULL, bytes, message);
    if (!chunk)
        return false;
    *last = chunk->finish_reason != MOERING__V1__FINISH_REASON__FINISH_REASON_UNSPECIFIED;
    if (chunk->text.len || chunk->n_tokens)
        record_content(record, now_ns, (const char *)chunk->text.data, chunk->text.len);
    else
        record_chunk(record, now_ns);
    const Moering__V1__Usage *usage = chunk->usage;
    if (usage)
        record_usage(record, usage->prompt_tokens, usage->completion_tokens);
    if (usage && usage->experts) {
        record->experts.known = true;
        record->experts.hits = (double)usage->experts->hits;
        record->experts.misses = (double)usage->experts->misses;
        record->experts.bytes = (double)usage->experts->bytes;
        record->experts.stall_ms = usage->experts->stall_ms;
    }
    moering__v1__generate_chunk__free_unpacked(chunk, NULL);
    return true;
}
