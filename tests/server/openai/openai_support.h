/* What the tests of the OpenAI API share: JSON as text, a tokenizer with the marks of chats,
 * decoded requests. */
#ifndef MOERING_TESTS_SERVER_OPENAI_OPENAI_SUPPORT_H
#define MOERING_TESTS_SERVER_OPENAI_OPENAI_SUPPORT_H

#include <gtest/gtest.h>
#include <jansson.h>

#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "engine/tokenizer/tokenizer.h"
#include "server/jsonw.h"
#include "server/openai/openai_asked.h"

namespace openai_test {

struct Decref {
    void operator()(json_t *value) const { json_decref(value); }
};
using Json = std::unique_ptr<json_t, Decref>;

inline Json Parse(const std::string &text)
{
    json_error_t error;
    Json value(json_loadb(text.data(), text.size(),
                          JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &error));
    EXPECT_TRUE(value) << error.text << " in " << text;
    return value;
}

/* Compact, with the members in their order: comparable. */
inline std::string Dump(const json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9))
                       : nullptr;
    std::string out = text ? text : "(nothing)";
    free(text);
    return out;
}

/* Follows names and numbers ("choices", "0", "text"); the dump of what is there. */
inline const json_t *At(const json_t *value, std::initializer_list<const char *> path)
{
    for (const char *step : path)
        value = json_is_array(value) ? json_array_get(value, (size_t)atoi(step))
                                     : json_object_get(value, step);
    return value;
}
inline std::string Text(const json_t *value, std::initializer_list<const char *> path)
{
    return Dump(At(value, path));
}

inline std::string Take(struct jsonw &w)
{
    EXPECT_FALSE(w.failed);
    std::string out(w.data ? w.data : "", w.bytes);
    jsonw_close(&w);
    return out;
}

/* The built-in model's folder: 512 tokens, byte-level, with chatml's marks. */
inline std::string TinyModel()
{
    const char *source = getenv("MOERING_SOURCE_DIR");
    return std::string(source ? source : ".") + "/deploy/models/tiny";
}

class Tokenizer {
  public:
    explicit Tokenizer(const std::string &folder = TinyModel())
    {
        struct error error = {};
        EXPECT_EQ(STATUS_OK, tokenizer_open(&tokenizer_, folder.c_str(), &error)) << error.text;
    }
    ~Tokenizer() { tokenizer_close(tokenizer_); }
    Tokenizer(const Tokenizer &) = delete;
    Tokenizer &operator=(const Tokenizer &) = delete;
    struct tokenizer *get() const { return tokenizer_; }
    uint32_t id(const char *entry) const { return tokenizer_token_id(tokenizer_, entry); }
    std::vector<uint32_t> encode(const std::string &text, bool parse_special = false) const
    {
        struct token_list list = {};
        struct error error = {};
        EXPECT_EQ(STATUS_OK, tokenizer_encode(tokenizer_, text.data(), text.size(), false,
                                              parse_special, &list, &error)) << error.text;
        std::vector<uint32_t> out(list.ids, list.ids + list.count);
        token_list_reset(&list);
        return out;
    }

  private:
    struct tokenizer *tokenizer_ = nullptr;
};

/* A body, and what becomes of it. */
struct Asked {
    Json body;
    struct openai_asked asked;
    struct openai_refusal refusal = {};
    struct openai_limits limits;

    Asked()
    {
        openai_asked_init(&asked);
        openai_limits_init(&limits);
    }
    ~Asked() { openai_asked_reset(&asked); }
    Asked(const Asked &) = delete;
    Asked &operator=(const Asked &) = delete;
    std::string param() const { return refusal.param; }
    std::string why() const { return refusal.why.text; }
    std::vector<uint32_t> prompt(size_t i) const
    {
        return {asked.prompts[i].ids, asked.prompts[i].ids + asked.prompts[i].count};
    }
};

} // namespace openai_test
#endif
