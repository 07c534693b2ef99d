/* What the tests of grammars share: tokenizers by name, grammars from text, and whether a text is
 * taken. */
#ifndef MOERING_TESTS_ENGINE_GRAMMAR_FIXTURES_H
#define MOERING_TESTS_ENGINE_GRAMMAR_FIXTURES_H

#include <gtest/gtest.h>
#include <jansson.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "engine/grammar/grammar.h"
#include "engine/tokenizer/tokenizer.h"
#include "tests/support/scratch.h"

namespace fixtures
{

struct Closer {
    void operator()(struct tokenizer *t) const { tokenizer_close(t); }
    void operator()(struct grammar *g) const { grammar_close(g); }
    void operator()(struct grammar_vocab *v) const { grammar_vocab_close(v); }
    void operator()(struct grammar_state *s) const { grammar_state_close(s); }
    void operator()(json_t *j) const { json_decref(j); }
};
template <class T> using Owned = std::unique_ptr<T, Closer>;
using Json = Owned<json_t>;

inline std::string read_file(const std::string &path)
{
    const char *root = std::getenv("MOERING_SOURCE_DIR");
    std::ifstream in(std::string(root ? root : ".") + "/" + path, std::ios::binary);
    EXPECT_TRUE(in.good()) << path << " (set MOERING_SOURCE_DIR to the checkout)";
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

inline Json parse(const std::string &text)
{
    json_error_t problem;
    Json json(json_loadb(text.data(), text.size(), JSON_DECODE_ANY | JSON_ALLOW_NUL, &problem));
    EXPECT_TRUE(json) << problem.text << " in " << text;
    return json;
}

/* A tokenizer and its vocabulary; the last token ends the output. */
struct Model {
    Owned<struct tokenizer> tokenizer;
    Owned<struct grammar_vocab> vocab;
    uint32_t size = 0, eos = 0;
    uint32_t byte_token[256];        /* TOKEN_NONE: there is none */
    std::vector<std::string> pieces; /* empty: special or nothing */

    struct Json {
        std::string text;
    };
    explicit Model(const std::string &path) : Model(Json{read_file(path)}) {}
    explicit Model(const Json &file)
    {
        const std::string &json = file.text;
        struct tokenizer *t = nullptr;
        struct error error = {};
        EXPECT_EQ(STATUS_OK, tokenizer_open_memory(&t, "tokenizer.json", json.data(), json.size(),
                                                   nullptr, 0, &error))
            << error.text;
        tokenizer.reset(t);
        eos = tokenizer_vocab_size(t);
        size = eos + 5; /* logits are often a few more than tokens */
        struct grammar_vocab *v = nullptr;
        EXPECT_EQ(STATUS_OK, grammar_vocab_open(&v, t, size, &eos, 1, &error)) << error.text;
        vocab.reset(v);
        pieces.resize(size);
        for (uint32_t &token : byte_token)
            token = TOKEN_NONE;
        for (uint32_t i = 0; i < eos; i++) {
            size_t bytes = 0;
            const char *piece = tokenizer_piece(t, i, &bytes);
            if (!tokenizer_is_special(t, i) && piece)
                pieces[i].assign(piece, bytes);
            if (pieces[i].size() == 1)
                byte_token[(uint8_t)pieces[i][0]] = i;
        }
    }
};

/* A byte as byte-level vocabularies write it, in UTF-8 and as JSON. */
inline std::string byte_entry(uint8_t byte)
{
    auto plain = [](unsigned b) {
        return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    };
    unsigned code = byte;
    if (!plain(byte)) {
        code = 0x100;
        for (unsigned b = 0; b < byte; b++)
            code += !plain(b);
    }
    if (code == '"' || code == '\\')
        return std::string("\\") + (char)code;
    if (code < 0x80)
        return std::string(1, (char)code);
    return {(char)(0xC0 | code >> 6), (char)(0x80 | (code & 0x3F))};
}

/* A vocabulary of these pieces and each byte, large enough for whole subtrees to be taken. */
inline Model made(const std::vector<std::string> &pieces)
{
    std::set<std::string> all(pieces.begin(), pieces.end());
    for (unsigned byte = 0; byte < 256; byte++)
        all.insert(std::string(1, (char)byte));
    all.erase("");
    std::string json = "{\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{";
    uint32_t id = 0;
    for (const std::string &piece : all) {
        json += id ? ",\"" : "\"";
        for (char byte : piece)
            json += byte_entry((uint8_t)byte);
        json += "\":" + std::to_string(id++);
    }
    return Model(Model::Json{json + "}},\"decoder\":{\"type\":\"ByteLevel\"}}"});
}

/* Pieces that share beginnings, as those of languages do: words of few syllables, marks,
 * characters of two to four bytes, whole and cut. */
inline std::vector<std::string> syllables(scratch::Random &r, uint32_t count)
{
    static const std::vector<std::string> parts = {"an", "be", "fox", "in", " ", "o",  "the", "x",
        "9", "42", "-", "\"", "\n", ",", "\\", "\xC3\xA9", "\xD0\xB6", "\xE4\xB8\xAD", "\xE4\xB8",
        "\xED\x95\x9C", "\xE0\xA4\x85", "\xF0\x9F\x98\x80", "\xF0\x9F", "\xC3", "\x80"};
    std::vector<std::string> out;
    for (uint32_t i = 0; i < count; i++) {
        std::string piece;
        for (uint32_t n = 1 + r.below(5); n > 0; n--) /* letters more often than the rest */
            piece += parts[r.below(r.chance(75) ? 8 : (uint32_t)parts.size())];
        out.push_back(piece);
    }
    return out;
}

inline Model &gpt2()
{
    static Model model("tests/golden/tokenizer/gpt2.json"); /* has a token for each byte */
    return model;
}

inline Owned<struct grammar_state> state_of(const struct grammar *grammar, const Model &model)
{
    struct grammar_state *state = nullptr;
    struct error error = {};
    EXPECT_EQ(STATUS_OK, grammar_state_open(&state, grammar, model.vocab.get(), &error))
        << error.text;
    return Owned<struct grammar_state>(state);
}

/* How many bytes are taken, and whether the text may end behind them. */
inline size_t taken(const struct grammar *grammar, const std::string &text, bool *may_end)
{
    auto state = state_of(grammar, gpt2());
    size_t count = 0;
    while (count < text.size() &&
           grammar_state_push(state.get(), gpt2().byte_token[(uint8_t)text[count]]))
        count++;
    *may_end = grammar_state_may_end(state.get());
    return count;
}

inline bool matches(const struct grammar *grammar, const std::string &text)
{
    bool may_end;
    return taken(grammar, text, &may_end) == text.size() && may_end;
}

/* An opened grammar, or how it was refused. */
struct Opened {
    Owned<struct grammar> grammar;
    enum status status = STATUS_OK;
    std::string error;
    const struct grammar *get() const { return grammar.get(); }
};

template <class Open> Opened opened(Open open)
{
    Opened out;
    struct grammar *grammar = nullptr;
    struct error error = {};
    out.status = open(&grammar, &error);
    out.grammar.reset(grammar);
    out.error = error.text;
    EXPECT_EQ(out.status == STATUS_OK, grammar != nullptr);
    EXPECT_EQ(out.status != STATUS_OK, error.text[0] != 0);
    return out;
}

inline Opened schema(const std::string &text)
{
    Json json = parse(text);
    return opened([&](struct grammar **g, struct error *e) {
        return grammar_open_json_schema(g, json.get(), e);
    });
}

inline Opened regex(const std::string &pattern)
{
    return opened([&](struct grammar **g, struct error *e) {
        return grammar_open_regex(g, pattern.data(), pattern.size(), e);
    });
}

inline Opened gbnf(const std::string &text)
{
    return opened([&](struct grammar **g, struct error *e) {
        return grammar_open_gbnf(g, text.data(), text.size(), e);
    });
}

inline Opened any_object()
{
    return opened(
        [&](struct grammar **g, struct error *e) { return grammar_open_json_object(g, e); });
}

inline Opened choice(const std::vector<std::string> &texts)
{
    std::vector<const char *> data;
    std::vector<size_t> bytes;
    for (const std::string &text : texts) {
        data.push_back(text.data());
        bytes.push_back(text.size());
    }
    return opened([&](struct grammar **g, struct error *e) {
        return grammar_open_choice(g, data.data(), bytes.data(), (uint32_t)texts.size(), e);
    });
}

} // namespace fixtures

#endif
