/* link: engine engine_template engine_grammar */
/* Files, tokenizers, templates and grammars when memory runs out: opened whole or refused with a
 * sentence, and what is refused leaves its output empty. */
#include <gtest/gtest.h>
#include <jansson.h>

#include <string>
#include <vector>

#include "engine/grammar/grammar.h"
#include "engine/load/checkpoint.h"
#include "engine/model/gguf_tokenizer.h"
#include "engine/template/chat_template.h"
#include "engine/tokenizer/detokenize.h"
#include "engine/tokenizer/tokenizer.h"
#include "tests/faults/sweep.h"
#include "tests/support/toy_model.h"

namespace {

std::string source_folder()
{
    const char *folder = getenv("MOERING_SOURCE_DIR");
    return folder ? folder : ".";
}

std::string tiny() { return source_folder() + "/deploy/models/tiny"; }

void sweep_checkpoint(const std::string &name, const std::string &path)
{
    faults::sweep("checkpoint_open, " + name, [&](struct error *error) {
        struct checkpoint *checkpoint = nullptr;
        enum status status = checkpoint_open(&checkpoint, path.c_str(), error);
        EXPECT_EQ(checkpoint == nullptr, status != STATUS_OK);
        checkpoint_close(checkpoint);
        return status;
    });
}

TEST(LoadFaults, Safetensors)
{
    scratch::Folder folder;
    toy::write(folder, toy::Model());
    sweep_checkpoint("safetensors", folder.path());
}

TEST(LoadFaults, Gguf)
{
    sweep_checkpoint("GGUF", source_folder() + "/tests/golden/gguf/olmoe_q4_0.gguf");
}

TEST(LoadFaults, TokenizerOfAFolder)
{
    faults::sweep("tokenizer_open", [&](struct error *error) {
        struct tokenizer *tokenizer = nullptr;
        enum status status = tokenizer_open(&tokenizer, tiny().c_str(), error);
        EXPECT_EQ(tokenizer == nullptr, status != STATUS_OK);
        tokenizer_close(tokenizer);
        return status;
    });
}

class Texts : public testing::Test {
protected:
    Texts()
    {
        struct error error = {};
        EXPECT_EQ(tokenizer_open(&tokenizer_, tiny().c_str(), &error), STATUS_OK) << error.text;
    }
    ~Texts() override { tokenizer_close(tokenizer_); }
    struct tokenizer *tokenizer_ = nullptr;
};

TEST_F(Texts, Encoding)
{
    const std::string text = "The ring holds  pages, e\xcc\x81l\xc3\xa8ve 123\n\n<s>x";
    struct token_list whole = {};
    ASSERT_EQ(tokenizer_encode(tokenizer_, text.data(), text.size(), true, true, &whole, nullptr),
              STATUS_OK);
    faults::sweep("tokenizer_encode", [&](struct error *error) {
        struct token_list ids = {};
        enum status status = tokenizer_encode(tokenizer_, text.data(), text.size(), true, true,
                                              &ids, error);
        if (status == STATUS_OK) {
            EXPECT_EQ(std::vector<uint32_t>(ids.ids, ids.ids + ids.count),
                      std::vector<uint32_t>(whole.ids, whole.ids + whole.count));
        }
        token_list_reset(&ids);
        return status;
    });
    token_list_reset(&whole);
}

TEST_F(Texts, TemplatesOpenAndRender)
{
    const char *conversation =
        "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":"
        "\"hello\"},{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[{\"id\":"
        "\"c00000001\","
        "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":[1,2.5,null]}}}]},"
        "{\"role\":\"tool\",\"content\":\"1\",\"tool_call_id\":\"c00000001\"},{\"role\":\"user\","
        "\"content\":\"more\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"description\":\"d\",\"parameters\":{\"type\":\"object\"}}}],"
        "\"add_generation_prompt\":true,\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}";
    for (uint32_t i = 0; chat_template_builtin_name(i); i++) {
        const std::string name = chat_template_builtin_name(i);
        const std::string text = chat_template_builtin(name.c_str());
        json_t *variables = json_loads(conversation, 0, nullptr);
        ASSERT_TRUE(variables);
        std::string whole;
        faults::sweep("chat template " + name, [&](struct error *error) {
            struct chat_template *t = nullptr;
            enum status status =
                chat_template_open(&t, name.c_str(), text.data(), text.size(), error);
            EXPECT_EQ(t == nullptr, status != STATUS_OK);
            if (status != STATUS_OK)
                return status;
            char *out = nullptr;
            size_t bytes = 0;
            status = chat_template_render(t, variables, 1753012345, &out, &bytes, error);
            EXPECT_EQ(out == nullptr, status != STATUS_OK);
            if (status == STATUS_OK) {
                faults::Pause pause;
                std::string now(out, bytes);
                if (whole.empty())
                    whole = now;
                EXPECT_EQ(now, whole);
            }
            free(out);
            chat_template_close(t);
            return status;
        });
        json_decref(variables);
    }
}

enum class Kind { JSON_OBJECT, SCHEMA, REGEX, GBNF, CHOICE };

struct Grammar {
    const char *name;
    Kind kind;
    const char *text;
};

enum status open_grammar(const Grammar &g, const json_t *schema, struct grammar **out,
                         struct error *error)
{
    switch (g.kind) {
    case Kind::JSON_OBJECT:
        return grammar_open_json_object(out, error);
    case Kind::SCHEMA:
        return grammar_open_json_schema(out, schema, error);
    case Kind::REGEX:
        return grammar_open_regex(out, g.text, strlen(g.text), error);
    case Kind::GBNF:
        return grammar_open_gbnf(out, g.text, strlen(g.text), error);
    case Kind::CHOICE:
        break;
    }
    const char *texts[] = {"yes", "no", "maybe"};
    const size_t bytes[] = {3, 2, 5};
    return grammar_open_choice(out, texts, bytes, 3, error);
}

const Grammar grammars[] = {
    {"json_object", Kind::JSON_OBJECT, ""},
    {"schema", Kind::SCHEMA,
     "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"minLength\":1,"
     "\"maxLength\":20},\"age\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":150},"
     "\"tags\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/tag\"},\"minItems\":1},"
     "\"when\":{\"type\":\"string\",\"format\":\"date-time\"},\"n\":{\"anyOf\":[{\"type\":\"null\"}"
     ","
     "{\"type\":\"number\"}]}},\"required\":[\"name\",\"age\"],\"additionalProperties\":false,"
     "\"$defs\":{\"tag\":{\"enum\":[\"a\",\"b\",1,null]}}}"},
    {"merged schema", Kind::SCHEMA,
     "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"],"
     "\"allOf\":[{\"properties\":{\"a\":{\"maxLength\":5},\"b\":{\"$ref\":\"#/$defs/b\"}},"
     "\"required\":[\"b\"]},{\"properties\":{\"a\":{\"minLength\":2},\"b\":{\"maximum\":7,"
     "\"type\":[\"integer\",\"null\"]}}}],"
     "\"$defs\":{\"b\":{\"type\":\"integer\",\"minimum\":2,\"maximum\":9}}}"},
    {"regex", Kind::REGEX, "(?:[a-z]{2,5}|\\d+\\.\\d*)x?[^\\s\"]*"},
    {"gbnf", Kind::GBNF, "root ::= item (\",\" item)*\nitem ::= [a-z]+ | \"(\" root \")\"\n"},
    {"choice", Kind::CHOICE, ""},
};

TEST(LoadFaults, GrammarsAreCompiled)
{
    faults::Rules rules;
    rules.jansson = true; /* schemas are copied and merged; nothing is parsed */
    for (const Grammar &g : grammars) {
        json_t *schema = g.kind == Kind::SCHEMA ? json_loads(g.text, 0, nullptr) : nullptr;
        faults::sweep(std::string("grammar ") + g.name, [&](struct error *error) {
            struct grammar *grammar = nullptr;
            enum status status = open_grammar(g, schema, &grammar, error);
            EXPECT_EQ(grammar == nullptr, status != STATUS_OK);
            grammar_close(grammar);
            return status;
        }, rules);
        json_decref(schema);
    }
}

TEST_F(Texts, GrammarsOfAVocabulary)
{
    const uint32_t eos[] = {0};
    faults::sweep("grammar_vocab_open", [&](struct error *error) {
        struct grammar_vocab *vocab = nullptr;
        enum status status = grammar_vocab_open(&vocab, tokenizer_,
                                                tokenizer_vocab_size(tokenizer_), eos, 1, error);
        EXPECT_EQ(vocab == nullptr, status != STATUS_OK);
        grammar_vocab_close(vocab);
        return status;
    });
}

/* The state of a grammar through some tokens: a mask or a push that lacks memory says so and leaves
 * the state as it was. */
enum status follow(const struct grammar *grammar, const struct grammar_vocab *vocab, uint32_t size,
                   std::vector<uint32_t> *tokens, struct error *error)
{
    struct grammar_state *state = nullptr;
    std::vector<uint32_t> mask(grammar_mask_words(size));
    enum status status = grammar_state_open(&state, grammar, vocab, error);
    EXPECT_EQ(state == nullptr, status != STATUS_OK);
    for (int step = 0; status == STATUS_OK && step < 12; step++) {
        if (grammar_state_must_end(state))
            break;
        bool any = grammar_state_mask(state, mask.data());
        if (!any) {
            status = STATUS_NO_MEMORY;
            break;
        }
        uint32_t token = size; /* the last allowed one: seldom the shortest */
        while (token-- > 0 && !(mask[token / 32] >> token % 32 & 1))
            continue;
        if (!grammar_state_push(state, token)) {
            status = STATUS_NO_MEMORY;
            faults::Pause pause;
            EXPECT_TRUE(grammar_state_push(state, token)); /* it was allowed all the time */
            break;
        }
        faults::Pause pause;
        tokens->push_back(token);
    }
    grammar_state_close(state);
    return status;
}

TEST_F(Texts, GrammarsAreFollowed)
{
    const uint32_t eos[] = {0};
    uint32_t size = tokenizer_vocab_size(tokenizer_);
    struct error why = {};
    struct grammar_vocab *vocab = nullptr;
    ASSERT_EQ(grammar_vocab_open(&vocab, tokenizer_, size, eos, 1, &why), STATUS_OK) << why.text;
    faults::Rules rules;
    rules.says_why = false;  /* masks and pushes are told by a bool */
    rules.spared_max = 1000; /* what masks remember is made again where it could not be kept */
    for (const Grammar &g : grammars) {
        json_t *schema = g.kind == Kind::SCHEMA ? json_loads(g.text, 0, nullptr) : nullptr;
        std::vector<uint32_t> expected;
        faults::sweep(std::string("grammar_state ") + g.name, [&](struct error *error) {
            struct grammar *grammar = nullptr;
            {
                faults::Pause pause;
                EXPECT_EQ(open_grammar(g, schema, &grammar, error), STATUS_OK) << error->text;
                if (expected.empty()) {
                    EXPECT_EQ(follow(grammar, vocab, size, &expected, error), STATUS_OK);
                    grammar_close(grammar); /* what it remembers was made without faults */
                    EXPECT_EQ(open_grammar(g, schema, &grammar, error), STATUS_OK) << error->text;
                }
            }
            std::vector<uint32_t> tokens;
            enum status status = follow(grammar, vocab, size, &tokens, error);
            faults::Pause pause;
            EXPECT_LE(tokens.size(), expected.size());
            EXPECT_TRUE(std::equal(tokens.begin(), tokens.end(), expected.begin()));
            grammar_close(grammar);
            return status;
        }, rules);
        json_decref(schema);
    }
    grammar_vocab_close(vocab);
}

} // namespace
