/* link: engine_tokenizer */
/* Pieces from anywhere (the arrays of a GGUF file's tokenizer): they open or are refused with a
 * sentence; what opens encodes and decodes a fixed text without harm.
 *
 * The bytes are: flags, then tokens as (type, score, length, text) up to a length of 255, then
 * merges as (length, text). Ids, counts and switches come from the flags. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/detokenize.h"
#include "engine/tokenizer/tokenizer.h"
#include "memory/base/check.h"

#define ELEMENTS_MAX 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct arrays {
    struct tokenizer_string tokens[ELEMENTS_MAX], merges[ELEMENTS_MAX];
    float scores[ELEMENTS_MAX];
    int32_t types[ELEMENTS_MAX];
};

static const char *const pre_names[] = {"gpt-2", "refact", "qwen2",        "llama-bpe",
                                        "tekken", "olmo",  "deepseek-llm", "nothing"};

/* Reads (length, text); 255 ends a list. */
static bool next_string(const uint8_t **at, const uint8_t *end, struct tokenizer_string *out)
{
    if (*at == end || **at == 255 || (size_t)(end - *at) <= **at)
        return false;
    *out = (struct tokenizer_string){(const char *)*at + 1, **at};
    *at += 1 + out->bytes;
    return true;
}

static void read_arrays(struct arrays *arrays, struct tokenizer_pieces *pieces, const uint8_t *at,
                        const uint8_t *end)
{
    uint32_t tokens = 0, merges = 0;
    for (; tokens < ELEMENTS_MAX && end - at > 2; tokens++) {
        arrays->types[tokens] = (int8_t)at[0];
        arrays->scores[tokens] = at[1] == 255 ? (float)-__builtin_nan("") : -(float)at[1];
        at += 2;
        if (!next_string(&at, end, &arrays->tokens[tokens]))
            break;
    }
    at += at < end;
    while (merges < ELEMENTS_MAX && next_string(&at, end, &arrays->merges[merges]))
        merges++;
    pieces->tokens = arrays->tokens;
    pieces->token_count = tokens;
    pieces->merges = arrays->merges;
    pieces->merge_count = merges;
    pieces->scores = arrays->scores;
    pieces->types = arrays->types;
}

static void decode_all(const struct tokenizer *tokenizer, const struct token_list *list)
{
    struct detokenizer d;
    size_t room = detokenizer_room(tokenizer);
    char *out = malloc(room);
    CHECK(out);
    detokenizer_init(&d, tokenizer, false);
    for (uint32_t i = 0; i < list->count; i++) {
        CHECK(list->ids[i] < tokenizer_vocab_size(tokenizer));
        CHECK(detokenizer_push(&d, list->ids[i], out, room) <= room);
    }
    for (uint32_t id = 0; id < tokenizer_vocab_size(tokenizer); id++)
        CHECK(detokenizer_push(&d, id, out, room) <= room);
    CHECK(detokenizer_finish(&d, out, room) <= room);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = "<s> The cat's 12 h\xC3\xA9h\xCC\x81, \xE4\xB8\xAD\xF0\x9F\x98\x80\n"
                               "<|endoftext|>\t ab aaaaaaaaaaaaaaaa";
    struct tokenizer_pieces pieces = {.bos = TOKEN_NONE, .eos = TOKEN_NONE, .unknown = TOKEN_NONE};
    struct tokenizer *tokenizer;
    struct token_list list = {0};
    struct error error = {0};
    if (size < 2)
        return 0;
    struct arrays *arrays = calloc(1, sizeof *arrays);
    CHECK(arrays);
    read_arrays(arrays, &pieces, data + 2, data + size);
    const char *pre = pre_names[data[0] >> 1 & 7];
    pieces.model.data = data[0] & 1 ? "llama" : "gpt2";
    pieces.model.bytes = strlen(pieces.model.data);
    pieces.pre_tokenizer = (struct tokenizer_string){pre, strlen(pre)};
    pieces.add_space_prefix = (data[0] >> 4 & 3) % 3;
    pieces.add_bos = (data[0] >> 6) % 3;
    pieces.bos = data[1] & 1 ? data[1] >> 1 & 7 : TOKEN_NONE;
    pieces.eos = data[1] & 16 ? data[1] >> 5 : TOKEN_NONE;
    if (tokenizer_open_pieces(&tokenizer, "fuzz", &pieces, &error) == STATUS_OK) {
        enum status status =
            tokenizer_encode(tokenizer, text, sizeof text, true, size & 1, &list, &error);
        CHECK(status == STATUS_OK || error.text[0]);
        decode_all(tokenizer, &list);
    } else {
        CHECK(!tokenizer && error.text[0]);
    }
    token_list_reset(&list);
    tokenizer_close(tokenizer);
    free(arrays);
    return 0;
}
