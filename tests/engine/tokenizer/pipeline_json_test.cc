/* The stages around the model: what is refused, and in which words. What is accepted is shown by
 * the golden vectors. */
#include "refusal.h"

using namespace fixtures;

namespace {

std::string file(const std::string &members)
{
    return R"({"model":{"type":"BPE","vocab":{"a":0,"<s>":1},"merges":[]})" +
           (members.empty() ? "" : "," + members) + "}";
}

std::string with_decoder(const std::string &members)
{
    return file(members + R"(,"decoder":{"type":"ByteLevel"})");
}

TEST(PipelineJson, RefusesNormalizers)
{
    expect_refusal(STATUS_UNSUPPORTED, "tokenizer.json: normalizer.type \"Foo\" is not supported",
                   with_decoder(R"("normalizer":{"type":"Foo"})"));
    expect_refusal(STATUS_UNSUPPORTED, "normalizer.normalizers[1].type \"Precompiled\"",
                   with_decoder(R"("normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},
                                   {"type":"Precompiled"}]})"));
    expect_refusal(STATUS_INVALID, "normalizer is not an object",
        with_decoder(R"("normalizer":[])"));
    expect_refusal(STATUS_INVALID, "normalizer.type is not a string",
                   with_decoder(R"("normalizer":{})"));
    expect_refusal(STATUS_INVALID, "normalizer.normalizers is not an array",
                   with_decoder(R"("normalizer":{"type":"Sequence"})"));
    expect_refusal(STATUS_INVALID, "normalizer.prepend is not a string",
                   with_decoder(R"("normalizer":{"type":"Prepend"})"));
    expect_refusal(STATUS_INVALID, "normalizer.content is not a string",
                   with_decoder(R"("normalizer":{"type":"Replace","pattern":{"String":"a"}})"));
    expect_refusal(STATUS_INVALID, "normalizer.pattern has neither String nor Regex",
                   with_decoder(R"("normalizer":{"type":"Replace","pattern":{},"content":""})"));
    expect_refusal(STATUS_INVALID, "normalizer.strip_left is not true or false",
                   with_decoder(R"("normalizer":{"type":"Strip","strip_left":1})"));
    std::string nested = R"({"type":"NFC"})";
    for (int i = 0; i < 10; i++)
        nested = R"({"type":"Sequence","normalizers":[)" + nested + "]}";
    expect_refusal(STATUS_UNSUPPORTED, "is nested deeper than 6 Sequences",
                   with_decoder("\"normalizer\":" + nested));
    std::string many = R"({"type":"NFC"})";
    for (int i = 0; i < 100; i++)
        many += R"(,{"type":"NFC"})";
    expect_refusal(
        STATUS_UNSUPPORTED, "normalizer.normalizers[64] is one of more than 64 steps",
        with_decoder(R"("normalizer":{"type":"Sequence","normalizers":[)" + many + "]}"));
}

TEST(PipelineJson, RefusesPreTokenizers)
{
    expect_refusal(STATUS_UNSUPPORTED,
        "tokenizer.json: pre_tokenizer.type \"Foo\" is not supported",
                   with_decoder(R"("pre_tokenizer":{"type":"Foo"})"));
    expect_refusal(STATUS_UNSUPPORTED, "pre_tokenizer.pretokenizers[0].type \"BertPreTokenizer\"",
                   with_decoder(R"("pre_tokenizer":{"type":"Sequence","pretokenizers":
                                   [{"type":"BertPreTokenizer"}]})"));
    expect_refusal(STATUS_UNSUPPORTED, "pre_tokenizer.behavior \"Sideways\" is not supported",
                   with_decoder(R"("pre_tokenizer":{"type":"Split","behavior":"Sideways"})"));
    expect_refusal(STATUS_INVALID, "pre_tokenizer.pattern.Regex is not a regular expression: ",
                   with_decoder(R"("pre_tokenizer":{"type":"Split","behavior":"Isolated",
                                   "pattern":{"Regex":"("}})"));
    expect_refusal(STATUS_UNSUPPORTED, "pre_tokenizer.pattern.Regex has \"}+\"",
                   with_decoder(R"("pre_tokenizer":{"type":"Split","behavior":"Isolated",
                                   "pattern":{"Regex":"a{1,3}+"}})"));
    expect_refusal(STATUS_UNSUPPORTED, "pre_tokenizer.pattern.String is empty",
                   with_decoder(R"("pre_tokenizer":{"type":"Split","behavior":"Isolated",
                                   "pattern":{"String":""}})"));
    expect_refusal(STATUS_INVALID, "pre_tokenizer.use_regex is not true or false",
                   with_decoder(R"("pre_tokenizer":{"type":"ByteLevel","use_regex":"yes"})"));
    expect_refusal(STATUS_INVALID, "pre_tokenizer.replacement is not one character",
                   with_decoder(R"("pre_tokenizer":{"type":"Metaspace","replacement":"ab"})"));
    expect_refusal(STATUS_UNSUPPORTED, "pre_tokenizer.prepend_scheme \"last\" is not supported",
                   with_decoder(R"("pre_tokenizer":{"type":"Metaspace","replacement":"_",
                                   "prepend_scheme":"last"})"));
    expect_refusal(STATUS_INVALID, "pre_tokenizer.prepend_scheme contradicts add_prefix_space",
                   with_decoder(R"("pre_tokenizer":{"type":"Metaspace","replacement":"_",
                                   "prepend_scheme":"first","add_prefix_space":false})"));
}

TEST(PipelineJson, RefusesPostProcessors)
{
    expect_refusal(STATUS_UNSUPPORTED, "post_processor.type \"BertProcessing\" is not supported",
                   with_decoder(R"("post_processor":{"type":"BertProcessing"})"));
    const std::string head = R"("post_processor":{"type":"TemplateProcessing","single":)";
    expect_refusal(STATUS_INVALID, "post_processor.single is not an array",
                   with_decoder(head + "7}"));
    expect_refusal(STATUS_INVALID, "post_processor.single has no Sequence",
                   with_decoder(head + "[]}"));
    expect_refusal(STATUS_INVALID, "post_processor.single[0] is neither SpecialToken nor Sequence",
                   with_decoder(head + "[{}]}"));
    expect_refusal(STATUS_UNSUPPORTED, "post_processor.single[1] repeats the sequence",
                   with_decoder(head + R"([{"Sequence":{}},{"Sequence":{}}]})"));
    expect_refusal(STATUS_INVALID, "post_processor.special_tokens.<s>.ids is not an array",
                   with_decoder(head + R"([{"SpecialToken":{"id":"<s>"}},{"Sequence":{}}]})"));
    expect_refusal(STATUS_INVALID,
        "post_processor.special_tokens.<s>.ids[0] is 5, which no token has",
                   with_decoder(head + R"([{"SpecialToken":{"id":"<s>"}},{"Sequence":{}}],
                                "special_tokens":{"<s>":{"ids":[5]}}})"));
}

TEST(PipelineJson, RefusesDecoders)
{
    auto sequence = [](const std::string &list) {
        return file(R"("decoder":{"type":"Sequence","decoders":[)" + list + "]}");
    };
    const std::string replace = R"({"type":"Replace","pattern":{"String":"_"},"content":" "})";
    expect_refusal(STATUS_UNSUPPORTED, "tokenizer.json: decoder is missing", file(""));
    expect_refusal(STATUS_UNSUPPORTED, "decoder.type \"CTC\" is not supported",
                   file(R"("decoder":{"type":"CTC"})"));
    expect_refusal(STATUS_UNSUPPORTED,
        "decoder.decoders[1].type \"Replace\" is not supported after",
                   sequence(R"({"type":"Fuse"},)" + replace));
    expect_refusal(STATUS_UNSUPPORTED,
        "decoder.decoders[1].type \"ByteLevel\" is not supported after",
                   sequence(replace + R"(,{"type":"ByteLevel"})"));
    expect_refusal(STATUS_UNSUPPORTED, "decoder.decoders[0].type \"Strip\" is not supported after",
                   sequence(R"({"type":"Strip","content":" ","start":1,"stop":0})"));
    expect_refusal(
        STATUS_UNSUPPORTED, "decoder.decoders[1].stop is 1",
        sequence(R"({"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":1})"));
    expect_refusal(STATUS_INVALID, "decoder.decoders[1].start is not an integer",
                   sequence(R"({"type":"Fuse"},{"type":"Strip","content":" ","stop":1})"));
    expect_refusal(STATUS_UNSUPPORTED, "decoder.decoders[0].pattern is not a String",
                   sequence(R"({"type":"Replace","pattern":{"Regex":"_"},"content":" "})"));
}

TEST(PipelineJson, ATemplateInASequenceWrapsTheOneBefore)
{
    const std::string inner =
        R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},
        {"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"ids":[1]}}})";
    const std::string outer = R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}},
        {"Sequence":{"id":"A"}},{"SpecialToken":{"id":"x"}}],
"special_tokens":{"x":{"ids":[0,0]}}})";
    Tokenizer t = open_text(with_decoder(R"("post_processor":{"type":"Sequence","processors":[)" +
                                         inner + R"(,{"type":"ByteLevel"},)" + outer + "]}"));
    EXPECT_EQ((std::vector<uint32_t>{0, 0, 1, 0, 0, 0}), encode(t.get(), "a", true));
    EXPECT_EQ((std::vector<uint32_t>{0}), encode(t.get(), "a", false));
}

} // namespace
