#include "server/kserve/kserve_tensor.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

typedef Inference__ModelInferRequest__InferInputTensor input_tensor;
typedef Inference__InferTensorContents contents_message;

enum { LENGTH_BYTES = 4 }; /* before each element of raw BYTES */

enum kind { KIND_BOOL, KIND_INT, KIND_UINT, KIND_FLOAT, KIND_BYTES };

/* 16-bit floats are left out: they have no typed form, and no setting needs them. */
static const struct data_type {
    const char *name;
    enum kind kind;
    size_t bytes; /* of a raw element; BYTES: at least */
} types[] = {
    {"BOOL", KIND_BOOL, 1},   {"INT8", KIND_INT, 1},    {"INT16", KIND_INT, 2},
    {"INT32", KIND_INT, 4},   {"INT64", KIND_INT, 8},   {"UINT8", KIND_UINT, 1},
    {"UINT16", KIND_UINT, 2}, {"UINT32", KIND_UINT, 4}, {"UINT64", KIND_UINT, 8},
    {"FP32", KIND_FLOAT, 4},  {"FP64", KIND_FLOAT, 8},  {"BYTES", KIND_BYTES, LENGTH_BYTES},
};

/* ---- what it says of itself ---- */

static int find_type(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* Elements of the shape, `most` + 1 for more than that; negative: a dimension is. */
static int64_t count_shape(const input_tensor *input, int64_t most)
{
    int64_t count = 1;
    for (size_t i = 0; i < input->n_shape; i++) {
        if (input->shape[i] < 0)
            return -1;
        if (count && input->shape[i] > most / count)
            count = most + 1;
        else
            count *= input->shape[i];
    }
    return count > most ? most + 1 : count;
}

/* How many elements the typed list of its data type holds. */
static size_t count_contents(const contents_message *c, const struct data_type *type)
{
    if (!c)
        return 0;
    switch (type->kind) {
    case KIND_BOOL: return c->n_bool_contents;
    case KIND_INT: return type->bytes == 8 ? c->n_int64_contents : c->n_int_contents;
    case KIND_UINT: return type->bytes == 8 ? c->n_uint64_contents : c->n_uint_contents;
    case KIND_FLOAT: return type->bytes == 8 ? c->n_fp64_contents : c->n_fp32_contents;
    case KIND_BYTES: return c->n_bytes_contents;
    }
    return 0;
}

/* Elements of raw BYTES; more than `most`, or SIZE_MAX if a length leads out of the bytes. */
static size_t count_raw_texts(const ProtobufCBinaryData *raw, size_t most)
{
    size_t count = 0;
    for (size_t at = 0; at < raw->len && count <= most; count++) {
        uint32_t length;
        if (raw->len - at < LENGTH_BYTES)
            return SIZE_MAX;
        memcpy(&length, raw->data + at, sizeof length);
        at += LENGTH_BYTES;
        if (le32toh(length) > raw->len - at)
            return SIZE_MAX;
        at += le32toh(length);
    }
    return count;
}

bool kserve_tensor_open(struct kserve_tensor *t, const Inference__ModelInferRequest *m, size_t i,
                        uint32_t most, struct openai_refusal *refusal)
{
    const input_tensor *input = m->inputs[i];
    *t = (struct kserve_tensor){.input = input, .type = find_type(input->datatype)};
    if (t->type < 0)
        return openai_refuse(refusal, HTTP_BAD_VALUE, input->name,
                             "input '%.64s' has the datatype '%.16s', which is not supported",
                             input->name, input->datatype);
    const struct data_type *type = &types[t->type];
    int64_t count = count_shape(input, most);
    if (count < 0 || count > most)
        return openai_refuse(refusal, HTTP_BAD_VALUE, input->name,
                             "input '%.64s' has a shape of %s", input->name,
                             count < 0 ? "negative dimensions" : "too many elements");
    t->count = (uint32_t)count;
    size_t have;
    if (m->n_raw_input_contents) {
        t->raw = &m->raw_input_contents[i];
        if (type->kind == KIND_BYTES)
            have = count_raw_texts(t->raw, t->count);
        else
            have = t->raw->len % type->bytes ? SIZE_MAX : t->raw->len / type->bytes;
    } else {
        have = count_contents(input->contents, type);
    }
    if (have != t->count)
        return openai_refuse(
            refusal, HTTP_BAD_VALUE, input->name,
            "input '%.64s' does not hold the %u elements of %s that its shape asks "
            "for",
            input->name, t->count, type->name);
    return true;
}

/* ---- its elements ---- */

/* `bytes` little-endian bytes, the sign kept if there is one. */
static uint64_t raw_bits(const uint8_t *at, size_t bytes, bool has_sign)
{
    uint64_t bits = 0;
    for (size_t i = bytes; i-- > 0;)
        bits = bits << 8 | at[i];
    if (has_sign && bytes < 8 && at[bytes - 1] & 0x80)
        bits |= UINT64_MAX << 8 * bytes;
    return bits;
}

static json_t *unsigned_value(uint64_t value)
{
    return value > INT64_MAX ? json_real((double)value) : json_integer((json_int_t)value);
}

static json_t *raw_number(const struct kserve_tensor *t, uint32_t i)
{
    const struct data_type *type = &types[t->type];
    uint64_t bits = raw_bits(t->raw->data + i * type->bytes, type->bytes, type->kind == KIND_INT);
    uint32_t half = (uint32_t)bits;
    float small;
    double large;
    switch (type->kind) {
    case KIND_BOOL: return json_boolean(bits != 0);
    case KIND_INT: return json_integer((json_int_t)bits);
    case KIND_FLOAT: /* NULL if it is no number */
        memcpy(&small, &half, sizeof small);
        memcpy(&large, &bits, sizeof large);
        return json_real(type->bytes == 8 ? large : (double)small);
    case KIND_UINT:
    case KIND_BYTES: break;
    }
    return unsigned_value(bits);
}

static json_t *typed_number(const struct kserve_tensor *t, uint32_t i)
{
    const contents_message *c = t->input->contents;
    bool wide = types[t->type].bytes == 8;
    switch (types[t->type].kind) {
    case KIND_BOOL: return json_boolean(c->bool_contents[i]);
    case KIND_INT: return json_integer(wide ? c->int64_contents[i] : c->int_contents[i]);
    case KIND_FLOAT: return json_real(wide ? c->fp64_contents[i] : (double)c->fp32_contents[i]);
    case KIND_UINT:
    case KIND_BYTES: break;
    }
    return unsigned_value(wide ? c->uint64_contents[i] : c->uint_contents[i]);
}

/* The element i of BYTES; those before it were read, *at is behind them in the raw form. */
static json_t *text_value(const struct kserve_tensor *t, uint32_t i, size_t *at)
{
    if (!t->raw) {
        const ProtobufCBinaryData *text = &t->input->contents->bytes_contents[i];
        return json_stringn(text->len ? (const char *)text->data : "", text->len);
    }
    size_t length = (size_t)raw_bits(t->raw->data + *at, LENGTH_BYTES, false);
    const char *text = (const char *)t->raw->data + *at + LENGTH_BYTES;
    *at += LENGTH_BYTES + length;
    return json_stringn(text, length);
}

json_t *kserve_tensor_value(const struct kserve_tensor *t, struct openai_refusal *refusal)
{
    const char *name = t->input->name;
    bool texts = types[t->type].kind == KIND_BYTES, one = t->count == 1;
    json_t *list = one ? NULL : json_array();
    bool room = one || list;
    size_t at = 0;
    for (uint32_t i = 0; i < t->count && room; i++) {
        json_t *value = texts ? text_value(t, i, &at)
                        : t->raw ? raw_number(t, i) : typed_number(t, i);
        if (!value) {
            openai_refuse(refusal, HTTP_BAD_VALUE, name, "input '%.64s': element %u is %s", name, i,
                          texts ? "not UTF-8" : "not a finite number");
            json_decref(list);
            return NULL;
        }
        if (one)
            return value;
        room = json_array_append_new(list, value) == 0;
    }
    if (room)
        return list;
    json_decref(list);
    openai_refuse(refusal, HTTP_UNAVAILABLE, name, "out of memory for the input '%.64s'", name);
    return NULL;
}

static uint32_t id_of(uint64_t bits, bool has_sign)
{
    return (has_sign && bits > INT64_MAX) || bits > UINT32_MAX ? UINT32_MAX : (uint32_t)bits;
}

static uint32_t typed_id(const contents_message *c, const struct data_type *type, uint32_t i)
{
    bool wide = type->bytes == 8;
    if (type->kind == KIND_INT)
        return id_of((uint64_t)(wide ? c->int64_contents[i] : c->int_contents[i]), true);
    return id_of(wide ? c->uint64_contents[i] : c->uint_contents[i], false);
}

uint32_t *kserve_tensor_ids(const struct kserve_tensor *t, struct openai_refusal *refusal)
{
    const struct data_type *type = &types[t->type];
    const char *name = t->input->name;
    bool has_sign = type->kind == KIND_INT;
    if (!has_sign && type->kind != KIND_UINT) {
        openai_refuse(refusal, HTTP_BAD_VALUE, name,
                      "input '%.64s' has the datatype %s, must be of whole numbers", name,
                      type->name);
        return NULL;
    }
    uint32_t *ids = malloc((t->count + (size_t)1) * sizeof *ids);
    if (!ids) {
        openai_refuse(refusal, HTTP_UNAVAILABLE, name, "out of memory for the input '%.64s'", name);
        return NULL;
    }
    for (uint32_t i = 0; i < t->count; i++)
        ids[i] = t->raw ? id_of(raw_bits(t->raw->data + i * type->bytes, type->bytes, has_sign),
                                has_sign)
                        : typed_id(t->input->contents, type, i);
    return ids;
}
