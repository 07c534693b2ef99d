/* Token ids to text on the front's side: where each token begins in the text, and
 * what a token is called in lists of log-probabilities. */
#ifndef MOERING_SERVER_OPENAI_OPENAI_TEXT_H
#define MOERING_SERVER_OPENAI_OPENAI_TEXT_H

#include "engine/tokenizer/detokenize.h"
#include "server/jsonw.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Characters of the text that came before a token: code points, as clients in Python count. */
struct openai_offset {
    struct detokenizer detokenizer;
    char *room;      /* owned: text of one token */
    size_t room_bytes;
    uint64_t characters;
};
/* False: out of memory. */
bool openai_offset_open(struct openai_offset *o, const struct tokenizer *tokenizer,
                        bool keep_special);
void openai_offset_close(struct openai_offset *o); /* accepts a zeroed one */
/* Where `token` begins, which comes next. A token that only completes a character begins where
 * that does. */
uint64_t openai_offset_push(struct openai_offset *o, uint32_t token);

/* The name of a token in a completion's lists: its text, or "bytes:\xe2\x82" if its bytes are no
 * whole characters. Written as a value, or as a key. Without a tokenizer: "token_id:17". */
void openai_token_name(struct jsonw *w, const struct tokenizer *tokenizer, uint32_t token,
                       bool key);
/* Its bytes; without a tokenizer none. */
const char *openai_token_bytes(const struct tokenizer *tokenizer, uint32_t token, size_t *bytes);
bool openai_is_utf8(const char *text, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
