/* Masks against trying each token, walks through masks, and texts under random schemas cut into
 * tokens in every way. */
#include "engine/grammar/grammar.h"

#include <algorithm>

#include "fixtures.h"
#include "random_schema.h"

using namespace fixtures;
using scratch::Random;

namespace
{

const std::vector<std::string> &tokenizers()
{
    static const std::vector<std::string> paths = {
        "tests/golden/tokenizer/gpt2.json", "tests/golden/tokenizer/qwen2.json",
        "tests/golden/tokenizer/mixtral.json", "deploy/models/tiny/tokenizer.json"};
    return paths;
}

bool is_set(const std::vector<uint32_t> &mask, uint32_t token)
{
    return mask[token / 32] >> token % 32 & 1;
}

std::vector<uint32_t> mask_of(struct grammar_state *state, const Model &model, bool *any = nullptr)
{
    std::vector<uint32_t> mask(grammar_mask_words(model.size), 0xFFFFFFFF);
    bool some = grammar_state_mask(state, mask.data());
    bool found = std::any_of(mask.begin(), mask.end(), [](uint32_t word) { return word != 0; });
    EXPECT_EQ(some, found);
    if (any)
        *any = some;
    return mask;
}

Owned<struct grammar_state> replay(const struct grammar *g, const Model &model,
                                   const std::vector<uint32_t> &tokens)
{
    auto state = state_of(g, model);
    for (uint32_t token : tokens)
        EXPECT_TRUE(grammar_state_push(state.get(), token));
    return state;
}

/* The mask says of each token what pushing it says. */
void expect_brute_force(const struct grammar *g, const Model &model,
                        const std::vector<uint32_t> &tokens, const std::vector<uint32_t> &mask)
{
    auto state = replay(g, model, tokens);
    for (uint32_t token = 0; token < model.size; token++) {
        bool taken = grammar_state_push(state.get(), token);
        ASSERT_EQ(taken, is_set(mask, token))
            << "token " << token << " '" << model.pieces[token] << "'";
        if (taken)
            state = replay(g, model, tokens);
    }
}

/* Draws allowed tokens at random, in the end those that close something; the text, complete or not.
 */
std::string walk(const struct grammar *g, const Model &model, Random &r, uint32_t checks,
                 bool *complete)
{
    auto state = state_of(g, model);
    std::vector<uint32_t> tokens;
    std::string text;
    *complete = false;
    while (tokens.size() < 300) {
        bool any;
        std::vector<uint32_t> mask = mask_of(state.get(), model, &any), allowed;
        if (r.chance(checks))
            expect_brute_force(g, model, tokens, mask);
        EXPECT_EQ(grammar_state_may_end(state.get()), is_set(mask, model.eos));
        for (uint32_t token = 0; token < model.size; token++)
            if (is_set(mask, token))
                allowed.push_back(token);
        if (!any)
            return text; /* a vocabulary without the bytes that are needed */
        uint32_t token = allowed[r.below((uint32_t)allowed.size())];
        if (tokens.size() > 40) {
            for (uint32_t other : allowed)
                if (other == model.eos ||
                    (!model.pieces[other].empty() && strchr("\"}]", model.pieces[other][0])))
                    token = r.chance(80) ? other : token;
        }
        EXPECT_TRUE(grammar_state_push(state.get(), token));
        if (token == model.eos) {
            EXPECT_TRUE(grammar_state_must_end(state.get()));
            *complete = true;
            return text;
        }
        tokens.push_back(token);
        text += model.pieces[token];
    }
    return text;
}

const char person[] = R"({"type":"object","properties":{
    "name":{"type":"string","minLength":1,"maxLength":20},
    "age":{"type":"integer","minimum":0,"maximum":150},
    "tags":{"type":"array","items":{"enum":["red","green","rot"]},"maxItems":3},
    "when":{"type":"string","format":"date"},
    "more":{"type":"object"},
    "next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["name","next"]})";

TEST(GrammarState, MasksAreWhatPushingSays)
{
    const char list[] = "root ::= item+\nitem ::= \"- \" [^\\n]{1,9} \"\\n\"\n";
    std::vector<Opened> grammars;
    grammars.push_back(any_object());
    grammars.push_back(schema(person));
    grammars.push_back(regex("(a|b)*c{2,4}[^\\x00-\\x7f]?|\\w+@\\w+"));
    grammars.push_back(choice({"yes", "no", "yes please", "", "\xC3\xA9t\xC3\xA9"}));
    grammars.push_back(gbnf(list));
    for (const std::string &path : tokenizers()) {
        Model model(path);
        for (size_t i = 0; i < grammars.size(); i++) {
            ASSERT_TRUE(grammars[i].get()) << grammars[i].error;
            Random r(7 * i + 1);
            bool complete;
            expect_brute_force(grammars[i].get(), model, {},
                               mask_of(state_of(grammars[i].get(), model).get(), model));
            walk(grammars[i].get(), model, r, 4, &complete);
            walk(grammars[i].get(), model, r, 4, &complete);
        }
    }
}

/* Loops over classes of characters, in which whole subtrees are taken without a walk: alone, one
 * behind another, counted, overlapping with what follows, below a stack. */
const std::vector<Opened> &loops()
{
    static const std::vector<Opened> grammars = [] {
        std::vector<Opened> out;
        for (const char *pattern :
             {".*", "[^\\n]+\\n", ".{1,500}", "[a-z ]{2,40}", "[^x]*", ".*fox.*", "(\\w+[ ,-]+)*",
              "[^\"]*\"[^\\n]*", ".{0,7}[0-9]*", "[\\x00-\\x7f]*", "[^\\x00-\\x7f]*", "([^o]|on)*",
              "[a-z\\u0400-\\u04ff\\u4e00-\\u9fff ]*", "(an|.)*", "(.*,){3}"})
            out.push_back(regex(pattern));
        out.push_back(gbnf("root ::= [^\\n]* \"\\n\" [^\\n]+ \"\\n\""));
        out.push_back(gbnf("root ::= (\"- \" [^\\n]{1,80} \"\\n\")+"));
        out.push_back(gbnf("root ::= list\nlist ::= \"(\" (text | list)* \")\"\ntext ::= [^()]+"));
        out.push_back(gbnf("root ::= \"-\" text \",\" text \"-\"\n"
                           "text ::= [^,-] text | [^,-] | \"--\" text \"-\" text"));
        return out;
    }();
    return grammars;
}

TEST(GrammarState, MasksOfLoopsAreWhatPushingSays)
{
    for (size_t t = 0; t < tokenizers().size(); t++) {
        Model model(tokenizers()[t]);
        for (size_t i = 0; i < loops().size(); i++) {
            const Opened &g = loops()[i];
            ASSERT_TRUE(g.get()) << i << ": " << g.error;
            Random r(i + 1);
            bool complete;
            if ((i + t) % 2 == 0) /* they take long */
                expect_brute_force(g.get(), model, {},
                                   mask_of(state_of(g.get(), model).get(), model));
            if (i % 8 == t)
                walk(g.get(), model, r, 1, &complete);
        }
    }
}

/* The same where subtrees are large, each mask against one of a fresh state, which knows
 * nothing. */
TEST(GrammarState, MasksOfLoopsAreExactForALargeVocabulary)
{
    Random r(20);
    Model model = made(syllables(r, 3000));
    for (size_t i = 0; i < loops().size(); i++) {
        const struct grammar *g = loops()[i].get();
        auto state = state_of(g, model);
        std::vector<uint32_t> tokens;
        for (uint32_t step = 0; step < 12; step++) {
            bool any;
            std::vector<uint32_t> mask = mask_of(state.get(), model, &any), allowed;
            ASSERT_EQ(mask, mask_of(replay(g, model, tokens).get(), model)) << i << " at " << step;
            if (step == 1)
                expect_brute_force(g, model, tokens, mask);
            for (uint32_t token = 0; token < model.eos; token++)
                if (is_set(mask, token))
                    allowed.push_back(token);
            if (allowed.empty())
                break;
            tokens.push_back(allowed[r.below((uint32_t)allowed.size())]);
            ASSERT_TRUE(grammar_state_push(state.get(), tokens.back()));
        }
        EXPECT_LT(0u, tokens.size()) << i;
    }
}

TEST(GrammarState, WalksThroughMasksGiveJsonThatIsValid)
{
    Json root = parse(person);
    for (const std::string &path : tokenizers()) {
        Model model(path);
        uint32_t finished = 0;
        Random r(3);
        Opened any = any_object(), typed = schema(person);
        for (int round = 0; round < 30; round++) {
            bool complete;
            std::string text = walk(round % 2 ? any.get() : typed.get(), model, r, 0, &complete);
            if (!complete)
                continue;
            finished++;
            Json value = parse(text);
            ASSERT_TRUE(value) << text;
            EXPECT_TRUE(json_is_object(value.get()));
            Json plain =
                parse(R"({"properties":{"name":{"type":"string","minLength":1,"maxLength":20},
                "age":{"type":"integer","minimum":0,"maximum":150},"when":{"type":"string"},
                "more":{"type":"object"},"tags":{"type":"array","maxItems":3,
                "items":{"enum":["red","green","rot"]}}},"required":["name","next"]})");
            if (round % 2 == 0) {
                EXPECT_TRUE(random_schema::valid(plain.get(), plain.get(), value.get())) << text;
            }
        }
        EXPECT_GT(finished, 5u) << path;
    }
}

TEST(GrammarState, TextsOfRandomSchemasAreTakenAndMutantsOnlyIfValid)
{
    Random r(11);
    uint32_t taken_texts = 0, refused = 0;
    for (int round = 0; round < 150; round++) {
        Json root(random_schema::document(r));
        Opened g = opened([&](struct grammar **out, struct error *e) {
            return grammar_open_json_schema(out, root.get(), e);
        });
        char *dumped = json_dumps(root.get(), 0);
        std::string written = dumped;
        free(dumped);
        if (g.status != STATUS_OK) {
            EXPECT_EQ(STATUS_INVALID, g.status) << g.error << " of " << written;
            continue;
        }
        for (int i = 0; i < 6; i++) {
            random_schema::Style style = {r.chance(30), r.chance(50)};
            std::string text = random_schema::text(r, root.get(), root.get(), style, 0);
            if (text.empty())
                continue;
            taken_texts++;
            EXPECT_TRUE(matches(g.get(), text)) << text << "\nunder " << written;
            for (int mutant = 0; mutant < 12; mutant++) {
                std::string other = text;
                size_t at = r.below((uint32_t)other.size());
                if (r.chance(50))
                    other[at] = "{}[]\",:0 -.ea\\\n\xC3t"[r.below(17)];
                else if (r.chance(50))
                    other.erase(at, 1 + r.below(3));
                else
                    other.insert(at, other.substr(r.below((uint32_t)other.size()), 1 + r.below(3)));
                if (!matches(g.get(), other)) {
                    refused++;
                    continue;
                }
                json_error_t problem;
                Json value(json_loadb(other.data(), other.size(),
                                      JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES,
                                      &problem));
                EXPECT_TRUE(value || strstr(problem.text, "duplicate"))
                    << problem.text << ": " << other;
                if (value) {
                    EXPECT_TRUE(random_schema::valid(root.get(), root.get(), value.get()))
                        << other << "\nunder " << written;
                }
            }
        }
    }
    EXPECT_GT(taken_texts, 300u);
    EXPECT_GT(refused, 2000u);
}

TEST(GrammarState, EveryWayToCutATextIntoTokensIsTaken)
{
    Random r(5);
    Opened g = schema(person);
    const std::string text =
        "{\"name\": \"Zo\xC3\xAB \\\"\xF0\x9F\x98\x80\", \"age\": 33, \"tags\": "
        "[\"red\", \"rot\"], \"more\": {\"a\": [1.5, {}]}, \"next\": null}";
    for (const std::string &path : tokenizers()) {
        Model model(path);
        for (int round = 0; round < 20; round++) {
            auto state = state_of(g.get(), model);
            for (size_t at = 0; at < text.size();) {
                std::vector<uint32_t> fitting;
                for (uint32_t token = 0; token < model.size; token++)
                    if (!model.pieces[token].empty() &&
                        text.compare(at, model.pieces[token].size(), model.pieces[token]) == 0)
                        fitting.push_back(token);
                if (fitting.empty())
                    break; /* this vocabulary cannot write it */
                std::vector<uint32_t> mask = mask_of(state.get(), model);
                for (uint32_t token : fitting)
                    EXPECT_TRUE(is_set(mask, token)) << path << " at " << at;
                uint32_t token = fitting[r.below((uint32_t)fitting.size())];
                ASSERT_TRUE(grammar_state_push(state.get(), token));
                at += model.pieces[token].size();
                EXPECT_EQ(at == text.size(), grammar_state_must_end(state.get()));
            }
        }
    }
}

TEST(GrammarState, EndsWhereItMayAndNotOtherwise)
{
    Model &model = gpt2();
    Opened g = choice({"a", "ab"});
    auto state = state_of(g.get(), model);
    EXPECT_FALSE(grammar_state_may_end(state.get()));
    EXPECT_FALSE(grammar_state_push(state.get(), model.eos));
    EXPECT_FALSE(grammar_state_push(state.get(), model.byte_token['b']));
    EXPECT_FALSE(grammar_state_push(state.get(), model.size + 100));
    EXPECT_TRUE(grammar_state_push(state.get(), model.byte_token['a']));
    EXPECT_TRUE(grammar_state_may_end(state.get()));
    EXPECT_FALSE(grammar_state_must_end(state.get()));
    EXPECT_TRUE(grammar_state_push(state.get(), model.byte_token['b']));
    EXPECT_TRUE(grammar_state_must_end(state.get()));
    std::vector<uint32_t> mask = mask_of(state.get(), model);
    for (uint32_t token = 0; token < model.size; token++)
        EXPECT_EQ(token == model.eos, is_set(mask, token));
    EXPECT_FALSE(grammar_state_push(state.get(), model.byte_token['b']));
    EXPECT_TRUE(grammar_state_push(state.get(), model.eos));
    EXPECT_TRUE(grammar_state_must_end(state.get()));
    grammar_state_close(nullptr);
    grammar_vocab_close(nullptr);
    grammar_close(nullptr);
}

TEST(GrammarState, DeepNestingKeepsItsPlaceAndForgetsWhatIsClosed)
{
    Opened g = any_object();
    std::string text = "{\"a\":", inner;
    for (int i = 0; i < 20000; i++)
        text += i % 2 ? "{\"k\":" : "[0,";
    text += "1";
    for (int i = 20000; i-- > 0;)
        text += i % 2 ? "}" : "]";
    EXPECT_TRUE(matches(g.get(), text + "}"));
    EXPECT_FALSE(matches(g.get(), text + "]"));
    text = "{\"a\":[";
    for (int i = 0; i < 20000; i++)
        text += "{\"b\":[1,{}]},";
    EXPECT_TRUE(matches(g.get(), text + "2]}"));
}

TEST(GrammarState, AGrammarTooAmbiguousFailsAndSaysSo)
{
    Opened g =
        gbnf("root ::= \"a\" root root | \"a\"\n"); /* a stack for each count of open roots */
    ASSERT_TRUE(g.get()) << g.error;
    auto state = state_of(g.get(), gpt2());
    uint32_t taken = 0;
    while (taken < 5000 && grammar_state_push(state.get(), gpt2().byte_token['a']))
        taken++;
    EXPECT_GT(taken, 500u);
    EXPECT_LT(taken, 5000u);
    EXPECT_FALSE(grammar_state_push(state.get(), gpt2().byte_token['a'])); /* and is as before */
    EXPECT_TRUE(grammar_state_may_end(state.get()) ||
                is_set(mask_of(state.get(), gpt2()), gpt2().byte_token['a']));
}

TEST(GrammarVocab, RefusesEndTokensBeyondIt)
{
    struct grammar_vocab *vocab = nullptr;
    struct error error = {};
    uint32_t eos = 10;
    EXPECT_EQ(STATUS_INVALID,
              grammar_vocab_open(&vocab, gpt2().tokenizer.get(), 10, &eos, 1, &error));
    EXPECT_FALSE(vocab);
    EXPECT_NE(nullptr, strstr(error.text, "10"));
}

} // namespace
