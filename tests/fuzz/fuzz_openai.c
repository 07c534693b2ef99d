/* link: server_openai server_core */
/* The JSON bodies of /v1/completions, /v1/chat/completions and of structured output, from bytes
 * to what would be submitted. The first byte chooses. What must hold: a body is taken or refused
 * with a sentence that is UTF-8 and an own code, prompts fit and hold ids of the vocabulary,
 * every request of a body can be made, and nothing is lost (the sanitizers see to it). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "server/jsonw.h"
#include "server/openai/chat_decode.h"
#include "server/openai/completions_decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Bytes, a merge, and the marks of chatml. */
static struct tokenizer *make_tokenizer(void)
{
    struct jsonw w = {0};
    static const char head[] = "{\"added_tokens\":["
        "{\"id\":257,\"content\":\"<|im_start|>\",\"special\":true},"
        "{\"id\":258,\"content\":\"<|im_end|>\",\"special\":true}],"
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

static void check_asked(struct openai_asked *asked, const struct openai_model *model,
                        struct openai_refusal *refusal)
{
    CHECK(asked->prompt_count >= 1 && asked->n >= 1);
    for (uint32_t i = 0; i < asked->prompt_count; i++) {
        const struct openai_prompt *prompt = &asked->prompts[i];
        CHECK(prompt->count >= 1 && prompt->count <= model->max_model_len);
        for (uint32_t k = 0; k < prompt->count; k++)
            CHECK(prompt->ids[k] < model->vocab);
    }
    struct request *request = request_open(1);
    CHECK(request);
    if (openai_asked_fill(asked, &asked->prompts[0], asked->n - 1, &request->asked, refusal)) {
        struct error error = {{0}};
        enum status status = sampler_params_check(&request->asked.sampling, &error);
        CHECK_MSG(status == STATUS_OK, "%s", error.text);
    }
    request_close(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tokenizer *tokenizer;
    static struct openai_template *chat;
    if (!tokenizer) {
        tokenizer = make_tokenizer();
        CHECK(
            openai_template_open(&chat, tokenizer,
                                 "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
                                 "<|im_end|>\n{% endfor %}",
                                 NULL) == STATUS_OK);
    }
    if (size < 1)
        return 0;
    const struct openai_model model = {"fuzz", tokenizer, 259, 4096};
    struct openai_limits limits;
    struct openai_asked asked;
    struct openai_refusal refusal = {0};
    openai_limits_init(&limits);
    openai_asked_init(&asked);
    json_t *body = openai_body(data + 1, size - 1, &refusal);
    bool ok = body != NULL;
    if (ok && data[0] % 2)
        ok = chat_decode(body, &model, chat, &limits, 0, &asked, &refusal);
    else if (ok)
        ok = completions_decode(body, &model, &limits, &asked, &refusal);
    CHECK(ok == !refusal.refused);
    if (ok)
        check_asked(&asked, &model, &refusal);
    CHECK(refusal.refused == (refusal.why.text[0] != '\0'));
    for (size_t at = 0, n = strlen(refusal.why.text), length; at < n; at += length) {
        length = jsonw_utf8_length(refusal.why.text + at, n - at);
        CHECK(length);
    }
    openai_asked_reset(&asked);
    json_decref(body);
    return 0;
}
