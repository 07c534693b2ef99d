/* Everything that the messages of one answer point at lies in an arena, but for the texts of the
 * typed form, which stay where they are. */
#include "server/kserve/kserve_encode.h"

#include <endian.h>
#include <string.h>

#include "server/grpc/pb.h"

typedef Inference__ModelInferResponse__InferOutputTensor output_tensor;

enum { LENGTH_BYTES = 4, NUMBER_BYTES = 4 /* of every data type that is sent */ };

struct frame {
    const struct kserve_answer *answer;
    struct pb_arena arena;
    output_tensor tensor[KSERVE_OUTPUTS];
    output_tensor *tensors[KSERVE_OUTPUTS];
    Inference__InferTensorContents contents[KSERVE_OUTPUTS];
    ProtobufCBinaryData raw[KSERVE_OUTPUTS];
    int64_t shape[KSERVE_OUTPUTS][2];
    size_t count;
};

static void *room(struct frame *f, size_t bytes)
{
    return pb_arena_alloc(&f->arena, bytes ? bytes : 1);
}

/* ---- texts ---- */

static ProtobufCBinaryData text_of(const struct kserve_row *row, enum kserve_output output)
{
    const char *text = output == KSERVE_TEXT ? row->text : row->finish_reason;
    return (ProtobufCBinaryData){.data = (uint8_t *)text,
                                 .len = output == KSERVE_TEXT ? row->text_bytes : strlen(text)};
}

/* The texts of all rows, each with its length before it. */
static bool fill_raw_texts(struct frame *f, size_t i, enum kserve_output output)
{
    const struct kserve_answer *a = f->answer;
    size_t bytes = 0;
    for (uint32_t r = 0; r < a->row_count; r++)
        bytes += LENGTH_BYTES + text_of(&a->rows[r], output).len;
    uint8_t *at = room(f, bytes);
    if (!at)
        return false;
    f->raw[i] = (ProtobufCBinaryData){.data = at, .len = bytes};
    for (uint32_t r = 0; r < a->row_count; r++) {
        ProtobufCBinaryData text = text_of(&a->rows[r], output);
        uint32_t length = htole32((uint32_t)text.len);
        memcpy(at, &length, sizeof length);
        if (text.len)
            memcpy(at + LENGTH_BYTES, text.data, text.len);
        at += LENGTH_BYTES + text.len;
    }
    return true;
}

static bool fill_texts(struct frame *f, size_t i, enum kserve_output output)
{
    const struct kserve_answer *a = f->answer;
    if (a->raw)
        return fill_raw_texts(f, i, output);
    ProtobufCBinaryData *texts = room(f, a->row_count * sizeof *texts);
    if (!texts)
        return false;
    for (uint32_t r = 0; r < a->row_count; r++)
        texts[r] = text_of(&a->rows[r], output);
    f->contents[i].n_bytes_contents = a->row_count;
    f->contents[i].bytes_contents = texts;
    return true;
}

/* ---- numbers ---- */

/* The numbers that a row has: `count` of them at the return value, or one written to *one. */
static const void *numbers_of(const struct kserve_row *row, enum kserve_output output, void *one,
                              uint32_t *count)
{
    float sum = (float)row->log_prob_sum;
    *count = 1;
    switch (output) {
    case KSERVE_IDS: *count = row->id_count; return row->ids;
    case KSERVE_LOG_PROBS: *count = row->log_prob_count; return row->log_probs;
    case KSERVE_LOG_PROB_SUM:
    case KSERVE_CUMULATIVE: memcpy(one, &sum, sizeof sum); break;
    case KSERVE_INPUT_TOKENS: memcpy(one, &row->input_tokens, sizeof row->input_tokens); break;
    default: memcpy(one, &row->output_tokens, sizeof row->output_tokens);
    }
    return one;
}

static uint32_t longest_of(const struct kserve_answer *a, enum kserve_output output)
{
    uint32_t longest = 0, count;
    uint8_t one[NUMBER_BYTES];
    for (uint32_t r = 0; r < a->row_count; r++) {
        numbers_of(&a->rows[r], output, one, &count);
        longest = count > longest ? count : longest;
    }
    return longest;
}

static void to_little_endian(uint8_t *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, numbers + i * NUMBER_BYTES, sizeof bits);
        bits = htole32(bits);
        memcpy(numbers + i * NUMBER_BYTES, &bits, sizeof bits);
    }
}

static bool fill_numbers(struct frame *f, size_t i, enum kserve_output output)
{
    const struct kserve_answer *a = f->answer;
    uint32_t width = longest_of(a, output), count;
    size_t all = (size_t)a->row_count * width;
    uint8_t one[NUMBER_BYTES], *numbers = room(f, all * NUMBER_BYTES);
    if (!numbers)
        return false;
    f->shape[i][1] = width;
    memset(numbers, output == KSERVE_IDS ? 0xff : 0, all * NUMBER_BYTES); /* -1, or 0.0 */
    for (uint32_t r = 0; r < a->row_count; r++) {
        const void *from = numbers_of(&a->rows[r], output, one, &count);
        if (count)
            memcpy(numbers + (size_t)r * width * NUMBER_BYTES, from, (size_t)count * NUMBER_BYTES);
    }
    if (a->raw) {
        to_little_endian(numbers, all);
        f->raw[i] = (ProtobufCBinaryData){.data = numbers, .len = all * NUMBER_BYTES};
        return true;
    }
    const char *type = kserve_output_kinds[output].type;
    Inference__InferTensorContents *c = &f->contents[i];
    if (strcmp(type, "FP32") == 0) {
        c->n_fp32_contents = all;
        c->fp32_contents = (float *)(void *)numbers;
    } else if (strcmp(type, "INT32") == 0) {
        c->n_int_contents = all;
        c->int_contents = (int32_t *)(void *)numbers;
    } else {
        c->n_uint_contents = all;
        c->uint_contents = (uint32_t *)(void *)numbers;
    }
    return true;
}

/* ---- the answer ---- */

/* The next output tensor. False: out of memory. */
static bool add(struct frame *f, enum kserve_output output)
{
    const struct kserve_output_kind *kind = &kserve_output_kinds[output];
    size_t i = f->count++;
    output_tensor *tensor = f->tensors[i] = &f->tensor[i];
    inference__model_infer_response__infer_output_tensor__init(tensor);
    inference__infer_tensor_contents__init(&f->contents[i]);
    f->shape[i][0] = f->answer->row_count;
    tensor->name = (char *)kind->name;
    tensor->datatype = (char *)kind->type;
    tensor->n_shape = kind->by_token ? 2 : 1;
    tensor->shape = f->shape[i];
    tensor->contents = f->answer->raw ? NULL : &f->contents[i];
    return strcmp(kind->type, "BYTES") == 0 ? fill_texts(f, i, output) : fill_numbers(f, i, output);
}

static enum status send_response(struct grpc_call *call, const struct kserve_answer *a,
                                 Inference__ModelInferResponse *response)
{
    Inference__ModelStreamInferResponse streamed = INFERENCE__MODEL_STREAM_INFER_RESPONSE__INIT;
    Inference__InferParameter final = INFERENCE__INFER_PARAMETER__INIT;
    Inference__ModelInferResponse__ParametersEntry entry =
        INFERENCE__MODEL_INFER_RESPONSE__PARAMETERS_ENTRY__INIT;
    Inference__ModelInferResponse__ParametersEntry *entries = &entry;
    if (!a->stream)
        return pb_send(call, &response->base);
    final.parameter_choice_case = INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_BOOL_PARAM;
    final.bool_param = a->final || a->error;
    entry.key = (char *)"triton_final_response";
    entry.value = &final;
    response->n_parameters = 1;
    response->parameters = &entries;
    streamed.infer_response = response;
    if (a->error)
        streamed.error_message = (char *)a->error;
    return pb_send(call, &streamed.base);
}

static bool is_wanted(const struct kserve_answer *a, enum kserve_output output)
{
    return !a->error && a->outputs & 1u << output &&
           (a->final || kserve_output_kinds[output].grows);
}

enum status kserve_send(struct grpc_call *call, const struct kserve_answer *a)
{
    Inference__ModelInferResponse response = INFERENCE__MODEL_INFER_RESPONSE__INIT;
    struct frame f = {.answer = a};
    enum status status = STATUS_NO_MEMORY;
    bool ok = true;
    pb_arena_init(&f.arena, SIZE_MAX);
    for (unsigned i = 0; i < KSERVE_OUTPUTS && ok; i++)
        if (is_wanted(a, (enum kserve_output)i))
            ok = add(&f, (enum kserve_output)i);
    response.model_name = (char *)a->model;
    response.model_version = (char *)KSERVE_VERSION;
    response.id = (char *)a->id;
    response.n_outputs = f.count;
    response.outputs = f.tensors;
    response.n_raw_output_contents = a->raw ? f.count : 0;
    response.raw_output_contents = f.raw;
    if (ok && !f.count && !a->error && !a->final)
        status = STATUS_OK;
    else if (ok)
        status = send_response(call, a, &response);
    pb_arena_reset(&f.arena);
    return status;
}
