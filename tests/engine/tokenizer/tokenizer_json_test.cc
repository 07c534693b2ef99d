/* Vocabulary, merges and added tokens: what is refused, and in which words. */
#include "refusal.h"

using namespace fixtures;

namespace {

std::string file(const std::string &model, const std::string &added = "[]")
{
    return R"({"added_tokens":)" + added + R"(,"decoder":{"type":"ByteLevel"},"model":)" + model +
           "}";
}

std::string bpe(const std::string &vocab, const std::string &rest = R"("merges":[])")
{
    return file(R"({"type":"BPE","vocab":)" + vocab + "," + rest + "}");
}

TEST(TokenizerJson, RefusesModels)
{
    expect_refusal(STATUS_INVALID, "tokenizer.json: not valid JSON", "{\"model\":");
    expect_refusal(STATUS_INVALID, "tokenizer.json: model is not an object", "{}");
    expect_refusal(STATUS_UNSUPPORTED, "tokenizer.json: model.type \"Unigram\" is not supported",
                   file(R"({"type":"Unigram","vocab":[]})"));
    expect_refusal(STATUS_INVALID, "model.type is not a string", file(R"({"type":7})"));
    expect_refusal(STATUS_UNSUPPORTED, "model.dropout is not supported",
                   bpe(R"({"a":0})", R"("merges":[],"dropout":0.1)"));
    expect_refusal(STATUS_INVALID, "model.dropout is not a number",
                   bpe(R"({"a":0})", R"("merges":[],"dropout":"x")"));
    expect_refusal(STATUS_UNSUPPORTED, "model.continuing_subword_prefix \"##\" is not supported",
                   bpe(R"({"a":0})", R"("merges":[],"continuing_subword_prefix":"##")"));
    expect_refusal(STATUS_UNSUPPORTED, "model.end_of_word_suffix \"</w>\" is not supported",
                   bpe(R"({"a":0})", R"("merges":[],"end_of_word_suffix":"</w>")"));
    expect_refusal(STATUS_INVALID, "model.unk_token \"<unk>\" is not in the vocabulary",
                   bpe(R"({"a":0})", R"("merges":[],"unk_token":"<unk>")"));
    expect_refusal(STATUS_INVALID, "model.byte_fallback is not true or false",
                   bpe(R"({"a":0})", R"("merges":[],"byte_fallback":1)"));
}

TEST(TokenizerJson, RefusesVocabularies)
{
    expect_refusal(STATUS_INVALID, "model.vocab is not an object", bpe("[]"));
    expect_refusal(STATUS_INVALID, "model.vocab.a is not an integer", bpe(R"({"a":"0"})"));
    expect_refusal(STATUS_INVALID, "model.vocab.a is -1", bpe(R"({"a":-1})"));
    expect_refusal(STATUS_INVALID, "model.vocab.a is 2147483648", bpe(R"({"a":2147483648})"));
    expect_refusal(STATUS_INVALID, "model.vocab has the id 2147483646, far beyond its 1 entries",
                   bpe(R"({"a":2147483646})"));
    expect_refusal(STATUS_INVALID, "model.vocab gives the id 0 to \"a\" and to \"b\"",
                   bpe(R"({"a":0,"b":0})"));
    expect_refusal(STATUS_INVALID, "duplicate object key", bpe(R"({"a":0,"a":1})"));
}

TEST(TokenizerJson, RefusesMerges)
{
    const std::string vocab = R"({"a":0,"b":1,"ab":2,"c":3})";
    expect_refusal(STATUS_INVALID, "model.merges is not an array", bpe(vocab, R"("merges":{})"));
    for (const char *merge : {"\"ab\"", "\"a b c\"", "7", "[\"a\"]", "[\"a\",\"b\",\"c\"]", "null"})
        expect_refusal(STATUS_INVALID, "model.merges[1] is not a pair of pieces",
                       bpe(vocab, std::string(R"("merges":["a b",)") + merge + "]"));
    expect_refusal(STATUS_INVALID, "model.merges[0][1] is not a string",
                   bpe(vocab, R"("merges":[["a",1]])"));
    expect_refusal(STATUS_INVALID, "model.merges[0] merges \"x\", which is not in the vocabulary",
                   bpe(vocab, R"("merges":["x a"])"));
    expect_refusal(STATUS_INVALID, "model.merges[0] makes \"ac\", which is not in the vocabulary",
                   bpe(vocab, R"("merges":["a c"])"));
}

TEST(TokenizerJson, RefusesAddedTokens)
{
    const std::string model = R"({"type":"BPE","vocab":{"a":0,"b":1},"merges":[]})";
    expect_refusal(STATUS_INVALID, "added_tokens is not an array", file(model, "{}"));
    expect_refusal(STATUS_INVALID, "added_tokens[0] is not an object", file(model, "[1]"));
    expect_refusal(STATUS_INVALID, "added_tokens[0].id is not an integer",
                   file(model, R"([{"content":"x"}])"));
    expect_refusal(STATUS_INVALID, "added_tokens[0].content is not a string",
                   file(model, R"([{"id":2}])"));
    expect_refusal(STATUS_INVALID, "added_tokens[0].lstrip is not true or false",
                   file(model, R"([{"id":2,"content":"x","lstrip":"no"}])"));
    expect_refusal(STATUS_INVALID, "added_tokens[0] has the id 1, which is \"b\" already",
                   file(model, R"([{"id":1,"content":"x"}])"));
    expect_refusal(STATUS_INVALID, "added_tokens[0] has the id 5 for \"b\", which is 1",
                   file(model, R"([{"id":5,"content":"b"}])"));
    expect_refusal(STATUS_INVALID, "added_tokens[1] adds \"x\" a second time",
                   file(model, R"([{"id":2,"content":"x"},{"id":2,"content":"x"}])"));
    expect_refusal(STATUS_INVALID, "has the id 2000000000, far beyond its 3 entries",
                   file(model, R"([{"id":2000000000,"content":"x"}])"));
}

TEST(TokenizerJson, TakesBothFormsOfMergesAndOldFiles)
{
    const std::string vocab = R"({"a":0,"b":1,"ab":2,"aba":3})";
    for (const char *merges : {R"("merges":["a b","ab a"])", R"("merges":[["a","b"],["ab","a"]])",
                               R"("merges":["#version: 0.2","a b","ab a"])"}) {
        Tokenizer t = open_text(file(R"({"vocab":)" + vocab + "," + merges + "}"));
        EXPECT_EQ((std::vector<uint32_t>{3, 2}), encode(t.get(), "abaab"));
    }
}

TEST(TokenizerJson, AddedTokensMayLeaveHoles)
{
    Tokenizer t = open_text(file(R"({"type":"BPE","vocab":{"a":0},"merges":[]})",
                                 R"([{"id":9,"content":"<x>"},{"id":3,"content":""}])"));
    EXPECT_EQ(10u, tokenizer_vocab_size(t.get()));
    EXPECT_EQ((std::vector<uint32_t>{0, 9, 0}), encode(t.get(), "a<x>a"));
}

} // namespace
