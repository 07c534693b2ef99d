#include "server/kserve/kserve_encode.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "server/grpc/pb.h"

typedef Inference__ModelInferResponse__InferOutputTensor output_tensor;

enum { LENGTH_BYTES = 4 };

/* Room for one answer: everything the messages point at, but for the text in its raw form. */
struct frame {
    output_tensor tensor[KSERVE_OUTPUTS];
    output_tensor *tensors[KSERVE_OUTPUTS];
    Inference__InferTensorContents contents[KSERVE_OUTPUTS];
    ProtobufCBinaryData bytes[KSERVE_OUTPUTS];
    uint32_t number[KSERVE_OUTPUTS];
    uint8_t reason[LENGTH_BYTES + 16];
    int64_t shape;
    size_t count;
};

static void put_length(uint8_t *at, size_t bytes)
{
    uint32_t length = htole32((uint32_t)bytes);
    memcpy(at, &length, sizeof length);
}

/* The text with its length before it. */
static bool raw_text(ProtobufCBinaryData *out, uint8_t *room, const char *text, size_t bytes)
{
    out->data = room ? room : malloc(LENGTH_BYTES + bytes);
    out->len = LENGTH_BYTES + bytes;
    if (!out->data)
        return false;
    put_length(out->data, bytes);
    if (bytes)
        memcpy(out->data + LENGTH_BYTES, text, bytes);
    return true;
}

static bool fill_text(struct frame *f, size_t i, bool raw, uint8_t *room, const char *text, size_t bytes)
{
    if (raw)
        return raw_text(&f->bytes[i], room, text, bytes);
    f->bytes[i] = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = bytes};
    f->contents[i].n_bytes_contents = 1;
    f->contents[i].bytes_contents = &f->bytes[i];
    return true;
}

static void fill_number(struct frame *f, size_t i, bool raw, uint32_t number)
{
    f->number[i] = raw ? htole32(number) : number;
    f->bytes[i] = (ProtobufCBinaryData){.data = (uint8_t *)&f->number[i], .len = sizeof number};
    if (raw)
        return;
    f->contents[i].n_uint_contents = 1;
    f->contents[i].uint_contents = &f->number[i];
}

/* The next output tensor. False: out of memory. */
static bool add(struct frame *f, const struct kserve_answer *a, enum kserve_output output)
{
    size_t i = f->count++;
    output_tensor *tensor = f->tensors[i] = &f->tensor[i];
    inference__model_infer_response__infer_output_tensor__init(tensor);
    inference__infer_tensor_contents__init(&f->contents[i]);
    tensor->name = (char *)kserve_output_names[output];
    tensor->datatype = (char *)kserve_output_type(output);
    tensor->n_shape = 1;
    tensor->shape = &f->shape;
    tensor->contents = a->raw ? NULL : &f->contents[i];
    switch (output) {
    case KSERVE_TEXT: return fill_text(f, i, a->raw, NULL, a->text, a->text_bytes);
    case KSERVE_FINISH_REASON:
        return fill_text(f, i, a->raw, f->reason, a->finish_reason, strlen(a->finish_reason));
    case KSERVE_INPUT_TOKENS: fill_number(f, i, a->raw, a->input_tokens); break;
    case KSERVE_OUTPUT_TOKENS:
    case KSERVE_OUTPUTS: fill_number(f, i, a->raw, a->output_tokens); break;
    }
    return true;
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

enum status kserve_send(struct grpc_call *call, const struct kserve_answer *a)
{
    Inference__ModelInferResponse response = INFERENCE__MODEL_INFER_RESPONSE__INIT;
    struct frame f = {.shape = 1};
    unsigned outputs = a->error ? 0 : a->final ? a->outputs : a->outputs & 1u << KSERVE_TEXT;
    enum status status = STATUS_NO_MEMORY;
    bool ok = true;
    if (!outputs && !a->error && !a->final)
        return STATUS_OK;
    for (unsigned i = 0; i < KSERVE_OUTPUTS && ok; i++)
        if (outputs & 1u << i)
            ok = add(&f, a, (enum kserve_output)i);
    response.model_name = (char *)a->model;
    response.model_version = (char *)KSERVE_VERSION;
    response.id = (char *)a->id;
    response.n_outputs = f.count;
    response.outputs = f.tensors;
    response.n_raw_output_contents = a->raw ? f.count : 0;
    response.raw_output_contents = f.bytes;
    if (ok)
        status = send_response(call, a, &response);
    if (a->raw && outputs & 1u << KSERVE_TEXT)
        free(f.bytes[0].data); /* the text comes first */
    return status;
}
