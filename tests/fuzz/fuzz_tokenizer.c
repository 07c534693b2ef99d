/* link: engine_tokenizer */
/* tokenizer.json from anywhere: it opens or is refused with a sentence; what opens encodes and
 * decodes a fixed text without harm. The text is short so that no input is slow. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/detokenize.h"
#include "engine/tokenizer/tokenizer.h"
#include "memory/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A tokenizer in order, for bytes that pretend to be its tokenizer_config.json. */
static const char sound[] = "{\"model\":{\"type\":\"BPE\","
                            "\"vocab\":{\"a\":0,\"</s>\":1},\"merges\":[]},"
                            "\"decoder\":{\"type\":\"ByteLevel\"}}";

static void decode_all(const struct tokenizer *tokenizer, const struct token_list *list, bool skip)
{
    struct detokenizer d;
    size_t room = detokenizer_room(tokenizer);
    char *out = malloc(room);
    CHECK(out);
    detokenizer_init(&d, tokenizer, skip);
    for (uint32_t i = 0; i < list->count; i++) {
        CHECK(list->ids[i] < tokenizer_vocab_size(tokenizer));
        CHECK(detokenizer_push(&d, list->ids[i], out, room) <= room);
    }
    for (uint32_t id = 0; id < tokenizer_vocab_size(tokenizer) && id < 1000; id++)
        CHECK(detokenizer_push(&d, id, out, room) <= room);
    CHECK(detokenizer_finish(&d, out, room) <= room);
    free(out);
}

static void open_as_config(const char *data, size_t size)
{
    struct tokenizer *tokenizer;
    struct error error = {0};
    enum status status = tokenizer_open_memory(&tokenizer, "fuzz", sound, sizeof sound - 1, data,
                                               size, &error);
    CHECK(status == STATUS_OK || (!tokenizer && error.text[0]));
    tokenizer_close(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = "<s> The cat's 12 h\xC3\xA9h\xCC\x81, \xE4\xB8\xAD\xF0\x9F\x98\x80\n"
                               "<|endoftext|>\t[M]  ab aaaaaaaaaaaaaaaa";
    struct tokenizer *tokenizer;
    struct error error = {0};
    open_as_config((const char *)data, size);
    enum status status =
        tokenizer_open_memory(&tokenizer, "fuzz", (const char *)data, size, NULL, 0, &error);
    if (status != STATUS_OK) {
        CHECK(!tokenizer && error.text[0]);
        return 0;
    }
    struct token_list list = {0};
    status = tokenizer_encode(tokenizer, text, sizeof text, true, true, &list, &error);
    CHECK(status == STATUS_OK || error.text[0]);
    decode_all(tokenizer, &list, size & 1);
    token_list_reset(&list);
    tokenizer_close(tokenizer);
    return 0;
}
