#include "server/openai/openai_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool openai_offset_open(struct openai_offset *o, const struct tokenizer *tokenizer,
                        bool keep_special)
{
    memset(o, 0, sizeof *o);
    if (!tokenizer)
        return true;
    o->room_bytes = detokenizer_room(tokenizer);
    o->room = malloc(o->room_bytes);
    detokenizer_init(&o->detokenizer, tokenizer, !keep_special);
    return o->room != NULL;
}

void openai_offset_close(struct openai_offset *o)
{
    free(o->room);
    memset(o, 0, sizeof *o);
}

uint64_t openai_offset_push(struct openai_offset *o, uint32_t token)
{
    uint64_t begins = o->characters;
    size_t n = o->room ? detokenizer_push(&o->detokenizer, token, o->room, o->room_bytes) : 0;
    for (size_t i = 0; i < n; i++)
        o->characters += ((unsigned char)o->room[i] & 0xc0) != 0x80;
    return begins;
}

const char *openai_token_bytes(const struct tokenizer *tokenizer, uint32_t token, size_t *bytes)
{
    *bytes = 0;
    if (!tokenizer || token >= tokenizer_vocab_size(tokenizer))
        return "";
    const char *piece = tokenizer_piece(tokenizer, token, bytes);
    if (piece)
        return piece;
    *bytes = 0;
    return "";
}

bool openai_is_utf8(const char *text, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        size_t length = jsonw_utf8_length(text + at, bytes - at);
        if (!length)
            return false;
        at += length;
    }
    return true;
}

void openai_token_name(struct jsonw *w, const struct tokenizer *tokenizer, uint32_t token, bool key)
{
    char spelled[6 + 4 * 64];
    size_t bytes;
    const char *name = openai_token_bytes(tokenizer, token, &bytes);
    if (!tokenizer) {
        bytes = (size_t)snprintf(spelled, sizeof spelled, "token_id:%u", token);
        name = spelled;
    } else if (!openai_is_utf8(name, bytes) && bytes <= 64) {
        size_t n = (size_t)snprintf(spelled, sizeof spelled, "bytes:");
        for (size_t i = 0; i < bytes && n + 5 <= sizeof spelled; i++)
            n += (size_t)snprintf(spelled + n, sizeof spelled - n, "\\x%02x",
                                  (unsigned char)name[i]);
        name = spelled;
        bytes = n;
    }
    if (key)
        jsonw_key_bytes(w, name, bytes);
    else
        jsonw_bytes(w, name, bytes);
}
