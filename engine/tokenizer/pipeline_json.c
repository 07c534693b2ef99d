/* Normaliser, pre-tokeniser, post-processor and decoder of tokenizer.json, each compiled into a
 * flat list of steps. "Sequence" nests; the nesting is bounded by PIPELINE_DEPTH_MAX, and so is the
 * recursion here, whatever the file says. Runs while a tokenizer opens. */
#include "engine/tokenizer/pipeline_json.h"

#include <stdlib.h>
#include <string.h>

#define PIPELINE_DEPTH_MAX 6
#define PIPELINE_STEPS_MAX 64

typedef enum status (*stage_reader)(void *out, const struct json_field *field, const char *type);

/* Reads one stage of any kind: a Sequence element by element, anything else by `read_one`. */
static enum status read_stage(void *out, const struct json_field *field, const char *elements,
                              stage_reader read_one, unsigned depth)
{
    struct json_field type_field = json_field_get(field, "type");
    const char *type;
    size_t bytes;
    enum status status = json_field_object(field);
    if (status == STATUS_OK)
        status = json_field_string(&type_field, &type, &bytes);
    if (status != STATUS_OK)
        return status;
    if (strcmp(type, "Sequence") != 0)
        return read_one(out, field, type);
    struct json_field list = json_field_get(field, elements);
    status = json_field_array(&list);
    if (status == STATUS_OK && depth == PIPELINE_DEPTH_MAX)
        status = json_field_error(&list, STATUS_UNSUPPORTED, "is nested deeper than %u Sequences",
                                  PIPELINE_DEPTH_MAX);
    for (size_t i = 0; status == STATUS_OK && i < json_array_size(list.value); i++) {
        struct json_field element = json_field_at(&list, i);
        status = read_stage(out, &element, elements, read_one, depth + 1);
    }
    return status;
}

static enum status unsupported_type(const struct json_field *field, const char *type)
{
    struct json_field type_field = json_field_get(field, "type");
    return json_field_error(&type_field, STATUS_UNSUPPORTED, "\"%.64s\" is not supported", type);
}

static enum status too_many_steps(const struct json_field *field)
{
    return json_field_error(field, STATUS_UNSUPPORTED, "is one of more than %u steps",
                            PIPELINE_STEPS_MAX);
}

/* {"String": "x"} or {"Regex": "x"}. */
static enum status read_pattern(const struct json_field *owner, struct pattern *pattern)
{
    struct json_field field = json_field_get(owner, "pattern");
    struct json_field literal = json_field_get(&field, "String");
    struct json_field regex = json_field_get(&field, "Regex");
    const char *text;
    size_t bytes;
    enum status status = json_field_object(&field);
    if (status == STATUS_OK && !literal.value && !regex.value)
        status = json_field_error(&field, STATUS_INVALID, "has neither String nor Regex");
    if (status != STATUS_OK)
        return status;
    const struct json_field *chosen = literal.value ? &literal : &regex;
    status = json_field_string(chosen, &text, &bytes);
    if (status == STATUS_OK && literal.value)
        return bytes ? pattern_open_literal(pattern, text, bytes)
                     : json_field_error(chosen, STATUS_UNSUPPORTED, "is empty");
    struct error reason = {0};
    if (status == STATUS_OK)
        status = pattern_open_regex(pattern, text, bytes, &reason);
    return reason.text[0] ? json_field_error(chosen, status, "%s", reason.text) : status;
}

static enum status read_char(const struct json_field *owner, const char *name, char out[4],
                             unsigned *length)
{
    struct json_field field = json_field_get(owner, name);
    const char *text;
    size_t bytes;
    enum status status = json_field_string(&field, &text, &bytes);
    if (status != STATUS_OK)
        return status;
    if (bytes)
        text_char(text, length);
    if (bytes == 0 || *length != bytes)
        return json_field_error(&field, STATUS_INVALID, "is not one character");
    memcpy(out, text, bytes);
    return STATUS_OK;
}

static enum status read_content(const struct json_field *field, struct normalize_step *step)
{
    const char *text;
    size_t bytes;
    enum status status = json_field_string(field, &text, &bytes);
    if (status != STATUS_OK)
        return status;
    step->content = malloc(bytes + 1);
    if (!step->content)
        return STATUS_NO_MEMORY;
    memcpy(step->content, text, bytes);
    step->content_bytes = bytes;
    return STATUS_OK;
}

static enum status read_normalize_step(const struct json_field *field,
                                       struct normalize_step *step)
{
    struct json_field content = json_field_get(field, "content");
    struct json_field prepend = json_field_get(field, "prepend");
    struct json_field left = json_field_get(field, "strip_left");
    struct json_field right = json_field_get(field, "strip_right");
    enum status status = STATUS_OK;
    switch (step->kind) {
    case NORMALIZE_PREPEND:
        return read_content(&prepend, step);
    case NORMALIZE_REPLACE:
        status = read_content(&content, step);
        return status == STATUS_OK ? read_pattern(field, &step->pattern) : status;
    case NORMALIZE_STRIP:
        status = json_field_bool(&left, &step->strip_left);
        return status == STATUS_OK ? json_field_bool(&right, &step->strip_right) : status;
    default:
        return STATUS_OK;
    }
}

static enum status read_normalizer(void *out, const struct json_field *field, const char *type)
{
    static const struct {
        const char *type;
        enum normalize_kind kind;
    } known[] = {{"NFC", NORMALIZE_NFC},           {"NFD", NORMALIZE_NFD},
                 {"NFKC", NORMALIZE_NFKC},         {"NFKD", NORMALIZE_NFKD},
                 {"Lowercase", NORMALIZE_LOWERCASE}, {"Prepend", NORMALIZE_PREPEND},
                 {"Replace", NORMALIZE_REPLACE},   {"Strip", NORMALIZE_STRIP}};
    struct normalizer *normalizer = out;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(type, known[i].type) != 0)
            continue;
        if (normalizer->count == PIPELINE_STEPS_MAX)
            return too_many_steps(field);
        struct normalize_step step = {.kind = known[i].kind};
        enum status status = read_normalize_step(field, &step);
        if (status == STATUS_OK)
            return normalizer_add(normalizer, &step);
        pattern_close(&step.pattern);
        free(step.content);
        return status;
    }
    return unsupported_type(field, type);
}

enum status pipeline_read_normalizer(struct normalizer *normalizer,
                                     const struct json_field *document)
{
    struct json_field field = json_field_get(document, "normalizer");
    return json_field_absent(&field)
               ? STATUS_OK
               : read_stage(normalizer, &field, "normalizers", read_normalizer, 0);
}

static enum status read_behavior(const struct json_field *owner, enum pretokenize_behavior *out)
{
    static const char *const names[] = {[BEHAVIOR_REMOVED] = "Removed",
                                        [BEHAVIOR_ISOLATED] = "Isolated",
                                        [BEHAVIOR_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
                                        [BEHAVIOR_MERGED_WITH_NEXT] = "MergedWithNext",
                                        [BEHAVIOR_CONTIGUOUS] = "Contiguous"};
    struct json_field field = json_field_get(owner, "behavior");
    const char *text;
    size_t bytes;
    enum status status = json_field_string(&field, &text, &bytes);
    if (status != STATUS_OK)
        return status;
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(text, names[i]) == 0) {
            *out = (enum pretokenize_behavior)i;
            return STATUS_OK;
        }
    return json_field_error(&field, STATUS_UNSUPPORTED, "\"%.64s\" is not supported", text);
}

static enum status read_byte_level(const struct json_field *field, struct pretokenize_step *step)
{
    struct json_field prefix = json_field_get(field, "add_prefix_space");
    struct json_field regex = json_field_get(field, "use_regex");
    bool add_prefix = true;
    step->split = true;
    enum status status = json_field_bool(&prefix, &add_prefix);
    if (status == STATUS_OK)
        status = json_field_bool(&regex, &step->split);
    if (status == STATUS_OK && step->split)
        status = pattern_open_regex(&step->pattern, pretokenize_byte_level_regex,
                                    strlen(pretokenize_byte_level_regex), field->error);
    step->prepend = add_prefix ? PREPEND_ALWAYS : PREPEND_NEVER;
    step->behavior = BEHAVIOR_ISOLATED;
    return status;
}

/* "prepend_scheme", or the older "add_prefix_space". */
static enum status read_prepend_scheme(const struct json_field *owner,
                                       enum pretokenize_prepend *out)
{
    struct json_field scheme = json_field_get(owner, "prepend_scheme");
    struct json_field prefix = json_field_get(owner, "add_prefix_space");
    bool add_prefix = true;
    enum status status = json_field_bool(&prefix, &add_prefix);
    *out = add_prefix ? PREPEND_ALWAYS : PREPEND_NEVER;
    if (status != STATUS_OK || json_field_absent(&scheme))
        return status;
    const char *text;
    size_t bytes;
    status = json_field_string(&scheme, &text, &bytes);
    if (status != STATUS_OK)
        return status;
    if (strcmp(text, "never") == 0)
        *out = PREPEND_NEVER;
    else if (strcmp(text, "first") == 0)
        *out = PREPEND_FIRST;
    else if (strcmp(text, "always") == 0)
        *out = PREPEND_ALWAYS;
    else
        return json_field_error(&scheme, STATUS_UNSUPPORTED, "\"%.64s\" is not supported", text);
    if (!add_prefix && *out != PREPEND_NEVER)
        return json_field_error(&scheme, STATUS_INVALID, "contradicts add_prefix_space");
    return STATUS_OK;
}

static enum status read_metaspace(const struct json_field *field, struct pretokenize_step *step)
{
    struct json_field split = json_field_get(field, "split");
    step->split = true;
    step->behavior = BEHAVIOR_MERGED_WITH_NEXT;
    enum status status = read_char(field, "replacement", step->mark, &step->mark_bytes);
    if (status == STATUS_OK)
        status = read_prepend_scheme(field, &step->prepend);
    if (status == STATUS_OK)
        status = json_field_bool(&split, &step->split);
    if (status == STATUS_OK && step->split)
        status = pattern_open_literal(&step->pattern, step->mark, step->mark_bytes);
    return status;
}

static enum status read_split(const struct json_field *field, struct pretokenize_step *step)
{
    struct json_field invert = json_field_get(field, "invert");
    enum status status = json_field_bool(&invert, &step->invert);
    if (status == STATUS_OK)
        status = read_behavior(field, &step->behavior);
    return status == STATUS_OK ? read_pattern(field, &step->pattern) : status;
}

static enum status read_pretokenize_step(const struct json_field *field, const char *type,
                                         struct pretokenize_step *step)
{
    if (strcmp(type, "Split") == 0) {
        step->kind = PRETOKENIZE_SPLIT;
        return read_split(field, step);
    }
    if (strcmp(type, "ByteLevel") == 0) {
        step->kind = PRETOKENIZE_BYTE_LEVEL;
        return read_byte_level(field, step);
    }
    if (strcmp(type, "Metaspace") == 0) {
        step->kind = PRETOKENIZE_METASPACE;
        return read_metaspace(field, step);
    }
    if (strcmp(type, "Digits") == 0) {
        struct json_field individual = json_field_get(field, "individual_digits");
        bool alone = false;
        enum status status = json_field_bool(&individual, &alone);
        step->kind = PRETOKENIZE_NUMBERS;
        step->behavior = alone ? BEHAVIOR_ISOLATED : BEHAVIOR_CONTIGUOUS;
        return status;
    }
    if (strcmp(type, "Punctuation") == 0) {
        struct json_field behavior = json_field_get(field, "behavior");
        step->kind = PRETOKENIZE_PUNCTUATION;
        step->behavior = BEHAVIOR_ISOLATED;
        return json_field_absent(&behavior) ? STATUS_OK : read_behavior(field, &step->behavior);
    }
    if (strcmp(type, "WhitespaceSplit") == 0) {
        step->kind = PRETOKENIZE_SPACES;
        step->behavior = BEHAVIOR_REMOVED;
        return STATUS_OK;
    }
    if (strcmp(type, "Whitespace") == 0) {
        step->kind = PRETOKENIZE_WORDS;
        step->behavior = BEHAVIOR_REMOVED;
        step->invert = true;
        return STATUS_OK;
    }
    return unsupported_type(field, type);
}

static enum status read_pretokenizer(void *out, const struct json_field *field, const char *type)
{
    struct pretokenizer *pretokenizer = out;
    struct pretokenize_step step = {0};
    if (pretokenizer->count == PIPELINE_STEPS_MAX)
        return too_many_steps(field);
    enum status status = read_pretokenize_step(field, type, &step);
    if (status == STATUS_OK)
        return pretokenizer_add(pretokenizer, &step);
    pattern_close(&step.pattern);
    return status;
}

enum status pipeline_read_pretokenizer(struct pretokenizer *pretokenizer,
                                       const struct json_field *document)
{
    struct json_field field = json_field_get(document, "pre_tokenizer");
    return json_field_absent(&field)
               ? STATUS_OK
               : read_stage(pretokenizer, &field, "pretokenizers", read_pretokenizer, 0);
}

/* The ids of one {"SpecialToken": {"id": NAME}}, by the processor's own table. */
static enum status read_template_token(struct tokenizer *tokenizer, const struct json_field *owner,
                                       const struct json_field *token, struct token_list *out)
{
    struct json_field name_field = json_field_get(token, "id");
    struct json_field table = json_field_get(owner, "special_tokens");
    const char *name;
    size_t bytes;
    enum status status = json_field_string(&name_field, &name, &bytes);
    if (status != STATUS_OK)
        return status;
    struct json_field entry = json_field_get(&table, name);
    struct json_field ids = json_field_get(&entry, "ids");
    status = json_field_array(&ids);
    for (size_t i = 0; status == STATUS_OK && i < json_array_size(ids.value); i++) {
        struct json_field id_field = json_field_at(&ids, i);
        uint32_t id = 0;
        status = json_field_uint(&id_field, INT32_MAX, &id);
        if (status == STATUS_OK && !vocab_at(&tokenizer->vocab, id))
            status = json_field_error(&id_field, STATUS_INVALID, "is %u, which no token has", id);
        if (status == STATUS_OK)
            status = token_list_push(out, id);
    }
    return status;
}

/* `first` goes before what `list` holds already, or behind it. */
static enum status join_ids(struct token_list *list, const struct token_list *more, bool first)
{
    struct token_list joined = {0};
    const struct token_list *parts[2] = {first ? more : list, first ? list : more};
    enum status status = STATUS_OK;
    for (unsigned p = 0; p < 2; p++)
        for (uint32_t i = 0; i < parts[p]->count && status == STATUS_OK; i++)
            status = token_list_push(&joined, parts[p]->ids[i]);
    token_list_reset(list);
    *list = joined;
    return status;
}

/* The template of one sequence: tokens, the sequence "A" once, tokens. A template in a Sequence of
 * processors wraps those before it. */
static enum status read_template(struct tokenizer *tokenizer, const struct json_field *field)
{
    struct json_field single = json_field_get(field, "single");
    struct token_list sides[2] = {{0}, {0}};
    unsigned side = 0;
    enum status status = json_field_array(&single);
    for (size_t i = 0; status == STATUS_OK && i < json_array_size(single.value); i++) {
        struct json_field piece = json_field_at(&single, i);
        struct json_field sequence = json_field_get(&piece, "Sequence");
        struct json_field token = json_field_get(&piece, "SpecialToken");
        if (token.value)
            status = read_template_token(tokenizer, field, &token, &sides[side]);
        else if (!sequence.value)
            status = json_field_error(&piece, STATUS_INVALID,
                                      "is neither SpecialToken nor Sequence");
        else if (side++)
            status = json_field_error(&piece, STATUS_UNSUPPORTED, "repeats the sequence");
    }
    if (status == STATUS_OK && side == 0)
        status = json_field_error(&single, STATUS_INVALID, "has no Sequence");
    if (status == STATUS_OK)
        status = join_ids(&tokenizer->before, &sides[0], true);
    if (status == STATUS_OK)
        status = join_ids(&tokenizer->after, &sides[1], false);
    token_list_reset(&sides[0]);
    token_list_reset(&sides[1]);
    return status;
}

static enum status read_post_processor(void *out, const struct json_field *field, const char *type)
{
    if (strcmp(type, "ByteLevel") == 0) /* trims offsets, which nobody asks for here */
        return STATUS_OK;
    if (strcmp(type, "TemplateProcessing") == 0)
        return read_template(out, field);
    return unsupported_type(field, type);
}

enum status pipeline_read_post_processor(struct tokenizer *tokenizer,
                                         const struct json_field *document)
{
    struct json_field field = json_field_get(document, "post_processor");
    return json_field_absent(&field)
               ? STATUS_OK
               : read_stage(tokenizer, &field, "processors", read_post_processor, 0);
}

/* Decoders work on the list of entries one after another; only these orders can be done entry by
 * entry and joined as the ids come:
 *     ByteLevel
 *     Replace* [ByteFallback] [Fuse] [Strip from the start]
 *     [ByteFallback] Metaspace
 * each with a Fuse that changes nothing at its end. */
enum decoder_place { PLACE_START, PLACE_REPLACE, PLACE_FALLBACK, PLACE_FUSE, PLACE_END };

struct decoder_reading {
    struct decoder *decoder;
    enum decoder_place place;
};

static enum status out_of_order(const struct json_field *field, const char *type)
{
    struct json_field type_field = json_field_get(field, "type");
    return json_field_error(&type_field, STATUS_UNSUPPORTED,
                            "\"%.64s\" is not supported after the decoders before it", type);
}

static enum status read_decoder_replace(struct decoder *decoder, const struct json_field *field)
{
    struct json_field pattern = json_field_get(field, "pattern");
    struct json_field from_field = json_field_get(&pattern, "String");
    struct json_field to_field = json_field_get(field, "content");
    const char *from, *to;
    size_t from_bytes, to_bytes;
    enum status status = json_field_object(&pattern);
    if (status == STATUS_OK && !from_field.value)
        return json_field_error(&pattern, STATUS_UNSUPPORTED, "is not a String");
    if (status == STATUS_OK)
        status = json_field_string(&from_field, &from, &from_bytes);
    if (status == STATUS_OK)
        status = json_field_string(&to_field, &to, &to_bytes);
    if (status == STATUS_OK && from_bytes == 0)
        status = json_field_error(&from_field, STATUS_UNSUPPORTED, "is empty");
    if (status == STATUS_OK && decoder->replace_count == PIPELINE_STEPS_MAX)
        status = too_many_steps(field);
    return status == STATUS_OK ? decoder_add_replace(decoder, from, from_bytes, to, to_bytes)
                               : status;
}

static enum status read_strip(struct decoder *decoder, const struct json_field *field)
{
    struct json_field start = json_field_get(field, "start");
    struct json_field stop = json_field_get(field, "stop");
    uint32_t cut_at_end = 0;
    enum status status = read_char(field, "content", decoder->strip, &decoder->strip_bytes);
    if (status == STATUS_OK)
        status = json_field_uint(&start, 1u << 16, &decoder->strip_count);
    if (status == STATUS_OK)
        status = json_field_uint(&stop, 1u << 16, &cut_at_end);
    if (status == STATUS_OK && cut_at_end)
        status = json_field_error(&stop, STATUS_UNSUPPORTED,
                                  "is %u: cutting at the end is not supported", cut_at_end);
    return status;
}

static enum status read_decoder_metaspace(struct decoder *decoder, const struct json_field *field)
{
    enum pretokenize_prepend prepend = PREPEND_ALWAYS;
    enum status status = read_char(field, "replacement", decoder->mark, &decoder->mark_bytes);
    if (status == STATUS_OK)
        status = read_prepend_scheme(field, &prepend);
    decoder->drop_first_marks = prepend != PREPEND_NEVER;
    return status;
}

static enum status read_decoder(void *out, const struct json_field *field, const char *type)
{
    struct decoder_reading *reading = out;
    struct decoder *decoder = reading->decoder;
    enum decoder_place place = reading->place;
    if (strcmp(type, "ByteLevel") == 0) {
        decoder->byte_level = true;
        reading->place = PLACE_END;
        return place == PLACE_START ? STATUS_OK : out_of_order(field, type);
    }
    if (strcmp(type, "Replace") == 0) {
        reading->place = PLACE_REPLACE;
        return place <= PLACE_REPLACE ? read_decoder_replace(decoder, field)
                                      : out_of_order(field, type);
    }
    if (strcmp(type, "ByteFallback") == 0) {
        decoder->byte_fallback = true;
        reading->place = PLACE_FALLBACK;
        return place <= PLACE_REPLACE ? STATUS_OK : out_of_order(field, type);
    }
    if (strcmp(type, "Fuse") == 0) {
        reading->place = place == PLACE_END ? PLACE_END : PLACE_FUSE;
        return STATUS_OK;
    }
    if (strcmp(type, "Strip") == 0) {
        reading->place = PLACE_END;
        return place == PLACE_FUSE ? read_strip(decoder, field) : out_of_order(field, type);
    }
    if (strcmp(type, "Metaspace") == 0) {
        reading->place = PLACE_END;
        return place == PLACE_START || (place == PLACE_FALLBACK && !decoder->replace_count)
                   ? read_decoder_metaspace(decoder, field)
                   : out_of_order(field, type);
    }
    return unsupported_type(field, type);
}

enum status pipeline_read_decoder(struct decoder *decoder, const struct json_field *document)
{
    struct json_field field = json_field_get(document, "decoder");
    struct decoder_reading reading = {.decoder = decoder};
    if (json_field_absent(&field)) /* would join entries with spaces between */
        return json_field_error(&field, STATUS_UNSUPPORTED, "is missing, which is not supported");
    return read_stage(&reading, &field, "decoders", read_decoder, 0);
}
