/* link: server_openai server_core */
/* Requests of the open inference protocol, from bytes to what would be submitted. The first byte
 * chooses: the rest is a message as the wire has it, or a recipe for one (names, data types,
 * dimensions and contents picked by its bytes), which gets past what a broken message ends at.
 *
 * What must hold: every tensor by itself is read or refused; a request is taken or refused with
 * a sentence; prompts fit, hold ids of the vocabulary and are as many as the batch has rows;
 * each of them can be made a request; nothing is lost or read beyond its end (the sanitizers see
 * to it). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "server/grpc/pb.h"
#include "server/jsonw.h"
#include "server/kserve/kserve_decode.h"
#include "server/kserve/kserve_prompt.h"

typedef Inference__ModelInferRequest infer_request;
typedef Inference__ModelInferRequest__InferInputTensor input_tensor;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { VOCAB = 258, INPUTS_MAX = 6, DIMENSIONS_MAX = 3, ELEMENTS_MAX = 16 };

/* Bytes, a merge, a special token. */
static struct tokenizer *make_tokenizer(void)
{
    struct jsonw w = {0};
    static const char head[] =
        "{\"added_tokens\":[{\"id\":257,\"content\":\"<|end|>\",\"special\":true}],"
        "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},"
        "\"decoder\":{\"type\":\"ByteLevel\"},"
        "\"model\":{\"type\":\"BPE\",\"merges\":[\"a b\"],\"vocab\":{\"ab\":256";
    jsonw_plain(&w, head, sizeof head - 1);
    for (unsigned byte = 0, next = 256; byte < 256; byte++) {
        bool plain = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte != 0xad);
        unsigned code = plain ? byte : next++;
        char text[2] = {(char)(0xc0 | code >> 6), (char)(0x80 | (code & 63))};
        jsonw_plain(&w, ",", 1);
        w.comma = false;
        if (code < 0x80)
            jsonw_key_bytes(&w, (const char[]){(char)code}, 1);
        else
            jsonw_key_bytes(&w, text, 2);
        jsonw_uint(&w, byte);
    }
    jsonw_plain(&w, "}}}", 3);
    struct tokenizer *tokenizer = NULL;
    struct error error = {{0}};
    enum status status =
        tokenizer_open_memory(&tokenizer, "fuzz", w.data, w.bytes, NULL, 0, &error);
    CHECK_MSG(status == STATUS_OK, "%s", error.text);
    jsonw_close(&w);
    return tokenizer;
}

/* ---- a request from a recipe ---- */

struct recipe {
    const uint8_t *at, *end;
};

static uint8_t take(struct recipe *r)
{
    return r->at < r->end ? *r->at++ : 0;
}

/* Room for one request; what a tensor points at has ends that a sanitizer sees. */
struct made {
    infer_request m;
    input_tensor input[INPUTS_MAX];
    input_tensor *inputs[INPUTS_MAX];
    Inference__InferTensorContents contents[INPUTS_MAX];
    int64_t shape[INPUTS_MAX][DIMENSIONS_MAX];
    ProtobufCBinaryData raw[INPUTS_MAX];
    ProtobufCBinaryData texts[INPUTS_MAX][ELEMENTS_MAX];
    void *numbers[INPUTS_MAX];
    Inference__InferParameter parameter[INPUTS_MAX];
    Inference__ModelInferRequest__ParametersEntry entry[INPUTS_MAX];
    Inference__ModelInferRequest__ParametersEntry *entries[INPUTS_MAX];
};

static char *pick_name(struct recipe *r)
{
    size_t count = 0;
    while (kserve_settings[count].name)
        count++;
    uint8_t byte = take(r);
    if (byte % 3 == 0)
        return (char *)(byte & 4 ? KSERVE_TEXT_INPUT : KSERVE_IDS_INPUT);
    return (char *)kserve_settings[byte / 3 % count].name;
}

static char *pick_type(struct recipe *r)
{
    static const char *const types[] = {"BYTES", "INT32", "INT64", "BOOL", "FP32", "UINT32", "FP64",
                                        "UINT64", "INT8", "UINT8", "INT16", "UINT16", "FP16", ""};
    return (char *)types[take(r) % (sizeof types / sizeof *types)];
}

static int64_t pick_dimension(struct recipe *r)
{
    uint8_t byte = take(r);
    if (byte < 240)
        return byte % 5;
    static const int64_t odd[] = {
        -1,  INT64_MIN, INT64_MAX,           INT64_C(1) << 32,        (INT64_C(1) << 32) + 1,
        256, 257,       KSERVE_ELEMENTS_MAX, KSERVE_ELEMENTS_MAX + 1, KSERVE_TOKENS_MAX};
    return odd[byte % (sizeof odd / sizeof *odd)];
}

/* A slice of the recipe with its own allocation. */
static ProtobufCBinaryData pick_bytes(struct recipe *r)
{
    size_t length = take(r), left = (size_t)(r->end - r->at);
    length = length < left ? length : left;
    ProtobufCBinaryData out = {.len = length, .data = malloc(length ? length : 1)};
    CHECK(out.data);
    if (length)
        memcpy(out.data, r->at, length);
    r->at += length;
    return out;
}

static void fill_contents(struct made *made, size_t i, struct recipe *r)
{
    Inference__InferTensorContents *c = &made->contents[i];
    uint8_t kind = take(r);
    inference__infer_tensor_contents__init(c);
    if (kind % 3 == 0) {
        c->n_bytes_contents = take(r) % ELEMENTS_MAX;
        c->bytes_contents = made->texts[i];
        for (size_t k = 0; k < c->n_bytes_contents; k++)
            made->texts[i][k] = pick_bytes(r);
        return;
    }
    ProtobufCBinaryData bytes = pick_bytes(r);
    made->numbers[i] = bytes.data; /* malloc'ed: aligned for all of them */
#define FILL(field) \
    c->n_##field = bytes.len / sizeof *c->field; \
    c->field = made->numbers[i]; \
    break
    switch (kind / 3 % 6) {
    case 0: FILL(int_contents);
    case 1: FILL(int64_contents);
    case 2: FILL(uint_contents);
    case 3: FILL(uint64_contents);
    case 4: FILL(fp32_contents);
    default: FILL(fp64_contents);
    }
#undef FILL
}

static void fill_parameters(struct made *made, struct recipe *r)
{
    made->m.n_parameters = take(r) % 3;
    made->m.parameters = made->entries;
    for (size_t i = 0; i < made->m.n_parameters; i++) {
        Inference__InferParameter *p = &made->parameter[i];
        inference__infer_parameter__init(p);
        inference__model_infer_request__parameters_entry__init(&made->entry[i]);
        made->entries[i] = &made->entry[i];
        made->entry[i].key = pick_name(r);
        made->entry[i].value = take(r) % 8 ? p : NULL;
        uint64_t bits = 0;
        for (int k = 0; k < 8; k++)
            bits = bits << 8 | take(r);
        p->parameter_choice_case = (Inference__InferParameter__ParameterChoiceCase)(bits % 6);
        if (p->parameter_choice_case == INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_STRING_PARAM)
            p->string_param = (char *)(bits & 64 ? "{\"top_k\":1,\"stop\":[\"a\"]}" : "1");
        else if (p->parameter_choice_case ==
                 INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_BOOL_PARAM)
            p->bool_param = bits >> 8 & 1;
        else
            p->uint64_param = bits;
    }
}

static void make_request(struct made *made, struct recipe *r)
{
    memset(made, 0, sizeof *made);
    inference__model_infer_request__init(&made->m);
    made->m.n_inputs = take(r) % (INPUTS_MAX + 1);
    made->m.inputs = made->inputs;
    bool raw = take(r) & 1;
    made->m.n_raw_input_contents = raw ? made->m.n_inputs : 0;
    made->m.raw_input_contents = made->raw;
    for (size_t i = 0; i < made->m.n_inputs; i++) {
        input_tensor *input = made->inputs[i] = &made->input[i];
        inference__model_infer_request__infer_input_tensor__init(input);
        input->name = pick_name(r);
        input->datatype = pick_type(r);
        input->n_shape = take(r) % (DIMENSIONS_MAX + 1);
        input->shape = made->shape[i];
        for (size_t k = 0; k < input->n_shape; k++)
            made->shape[i][k] = pick_dimension(r);
        if (raw) {
            made->raw[i] = pick_bytes(r);
        } else if (take(r) % 8) {
            fill_contents(made, i, r);
            input->contents = &made->contents[i];
        }
    }
    fill_parameters(made, r);
}

static void free_request(struct made *made)
{
    for (size_t i = 0; i < INPUTS_MAX; i++) {
        free(made->raw[i].data);
        free(made->numbers[i]);
        for (size_t k = 0; k < ELEMENTS_MAX; k++)
            free(made->texts[i][k].data);
    }
}

/* ---- what must hold ---- */

static void check_refusal(const struct openai_refusal *refusal, bool ok)
{
    CHECK(ok == !refusal->refused);
    CHECK(refusal->refused == (refusal->why.text[0] != '\0'));
    for (size_t at = 0, n = strlen(refusal->why.text), length; at < n; at += length) {
        length = jsonw_utf8_length(refusal->why.text + at, n - at);
        CHECK(length);
    }
}

static void check_tensors(const infer_request *m)
{
    for (size_t i = 0; i < m->n_inputs; i++) {
        struct kserve_tensor tensor;
        struct openai_refusal open = {0}, value = {0}, ids = {0};
        bool ok = kserve_tensor_open(&tensor, m, i, KSERVE_ELEMENTS_MAX, &open);
        check_refusal(&open, ok);
        if (!ok)
            continue;
        json_t *json = kserve_tensor_value(&tensor, &value);
        check_refusal(&value, json != NULL);
        CHECK(!json || tensor.count == 1 || json_array_size(json) == tensor.count);
        uint32_t *list = kserve_tensor_ids(&tensor, &ids);
        check_refusal(&ids, list != NULL);
        json_decref(json);
        free(list);
    }
}

static void check_asked(struct kserve_asked *asked, const struct openai_model *model)
{
    CHECK(asked->asked.prompt_count >= 1 && asked->asked.prompt_count <= KSERVE_ROWS_MAX);
    CHECK(asked->outputs && asked->outputs < 1u << KSERVE_OUTPUTS);
    for (uint32_t i = 0; i < asked->asked.prompt_count; i++) {
        const struct openai_prompt *prompt = &asked->asked.prompts[i];
        CHECK(prompt->count >= 1 && prompt->count <= model->max_model_len);
        for (uint32_t k = 0; k < prompt->count; k++)
            CHECK(prompt->ids[k] < model->vocab);
        struct openai_refusal refusal = {0};
        struct request *request = request_open(1);
        CHECK(request);
        bool ok = openai_asked_fill(&asked->asked, prompt, 0, &request->asked, &refusal);
        check_refusal(&refusal, ok); /* a grammar may be refused only here */
        if (ok) {
            struct error error = {{0}};
            enum status status = sampler_params_check(&request->asked.sampling, &error);
            CHECK_MSG(status == STATUS_OK, "%s", error.text);
        }
        request_close(request);
    }
}

static void decode(const infer_request *m, const struct openai_model *model)
{
    struct kserve_asked asked;
    struct openai_refusal refusal = {0};
    if (!m->n_raw_input_contents || m->n_raw_input_contents == m->n_inputs)
        check_tensors(m);
    bool ok = kserve_decode(m, model, &asked, &refusal);
    check_refusal(&refusal, ok);
    if (ok)
        check_asked(&asked, model);
    kserve_asked_reset(&asked);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tokenizer *tokenizer;
    if (!tokenizer)
        tokenizer = make_tokenizer();
    if (size < 1)
        return 0;
    const struct openai_model model = {"fuzz", data[0] & 2 ? NULL : tokenizer, VOCAB, 512};
    if (data[0] & 1) {
        static struct made made;
        struct recipe recipe = {data + 1, data + size};
        make_request(&made, &recipe);
        decode(&made.m, &model);
        free_request(&made);
        return 0;
    }
    struct pb_arena arena = {0};
    ProtobufCMessage *message;
    struct error error = {{0}};
    if (pb_unpack(&arena, &inference__model_infer_request__descriptor, data + 1, size - 1, &message,
                  &error) == STATUS_OK)
        decode((const infer_request *)message, &model);
    pb_arena_reset(&arena);
    return 0;
}
