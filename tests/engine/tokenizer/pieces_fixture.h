/* Pieces as a test writes them: strings that live as long as the arrays that point at them, and the
 * golden folder's files of pieces. */
#ifndef MOERING_TESTS_ENGINE_TOKENIZER_PIECES_FIXTURE_H
#define MOERING_TESTS_ENGINE_TOKENIZER_PIECES_FIXTURE_H

#include <jansson.h>

#include "fixtures.h"

namespace fixtures {

struct Pieces {
    std::string model, pre, chat_template;
    std::vector<std::string> tokens, merges;
    std::vector<float> scores;
    std::vector<int32_t> types;
    struct tokenizer_pieces more = {}; /* ids and switches; the rest is filled in by view() */
    std::vector<struct tokenizer_string> token_strings, merge_strings;

    Pieces() { more.bos = more.eos = more.unknown = TOKEN_NONE; }

    void add(const std::string &token, int32_t type = TOKENIZER_PIECE_NORMAL, float score = 0)
    {
        tokens.push_back(token);
        types.push_back(type);
        scores.push_back(score);
    }

    static struct tokenizer_string string(const std::string &s)
    {
        return {s.empty() ? nullptr : s.data(), s.size()};
    }

    static std::vector<struct tokenizer_string> strings(const std::vector<std::string> &from)
    {
        std::vector<struct tokenizer_string> out;
        for (const std::string &s : from)
            out.push_back({s.data(), s.size()});
        return out;
    }

    const struct tokenizer_pieces *view()
    {
        token_strings = strings(tokens);
        merge_strings = strings(merges);
        more.model = string(model);
        more.pre_tokenizer = string(pre);
        more.chat_template = string(chat_template);
        more.tokens = token_strings.data();
        more.token_count = (uint32_t)tokens.size();
        more.merges = merge_strings.empty() ? nullptr : merge_strings.data();
        more.merge_count = (uint32_t)merges.size();
        more.scores = scores.empty() ? nullptr : scores.data();
        more.types = types.empty() ? nullptr : types.data();
        return &more;
    }
};

inline std::string json_text(const json_t *value)
{
    return value ? std::string(json_string_value(value), json_string_length(value)) : "";
}

inline std::vector<std::string> json_texts(const json_t *array)
{
    std::vector<std::string> out;
    for (size_t i = 0; i < json_array_size(array); i++)
        out.push_back(json_text(json_array_get(array, i)));
    return out;
}

inline Pieces read_pieces(const std::string &path)
{
    Pieces pieces;
    std::string text = read_file(path);
    json_error_t problem;
    json_t *root = json_loadb(text.data(), text.size(), JSON_ALLOW_NUL, &problem);
    EXPECT_TRUE(root) << problem.text;
    pieces.model = json_text(json_object_get(root, "model"));
    pieces.pre = json_text(json_object_get(root, "pre"));
    pieces.tokens = json_texts(json_object_get(root, "tokens"));
    pieces.merges = json_texts(json_object_get(root, "merges"));
    const json_t *scores = json_object_get(root, "scores"), *types = json_object_get(root, "types");
    for (size_t i = 0; i < json_array_size(scores); i++)
        pieces.scores.push_back((float)json_number_value(json_array_get(scores, i)));
    for (size_t i = 0; i < json_array_size(types); i++)
        pieces.types.push_back((int32_t)json_integer_value(json_array_get(types, i)));
    struct {
        const char *name;
        uint32_t *id;
    } ids[] = {{"bos", &pieces.more.bos}, {"eos", &pieces.more.eos}};
    for (const auto &id : ids)
        if (const json_t *value = json_object_get(root, id.name))
            *id.id = (uint32_t)json_integer_value(value);
    const json_t *prefix = json_object_get(root, "add_space_prefix");
    if (prefix)
        pieces.more.add_space_prefix = json_is_true(prefix) ? TOKENIZER_ON : TOKENIZER_OFF;
    json_decref(root);
    return pieces;
}

inline Tokenizer open_pieces(Pieces &pieces)
{
    struct tokenizer *t = nullptr;
    struct error error = {};
    EXPECT_EQ(STATUS_OK, tokenizer_open_pieces(&t, "m.gguf", pieces.view(), &error)) << error.text;
    EXPECT_TRUE(t);
    return Tokenizer(t);
}

} // namespace fixtures

#endif
