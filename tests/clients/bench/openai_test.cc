#include "clients/bench/openai.h"

#include <gtest/gtest.h>

#include <string>

namespace {

std::string body(const openai_style &style, prompt p)
{
    char *text = openai_body(&style, &p);
    std::string out = text ? text : "(null)";
    free(text);
    return out;
}

TEST(openai, bodies)
{
    char text[] = "a \"b\"";
    uint32_t ids[] = {5, 6};
    prompt words = {text, strlen(text), nullptr, 0, 2, 9, 0};
    prompt numbers = {nullptr, 0, ids, 2, 2, 9, 0};
    openai_style plain = {false, "m", false, false, 0, nullptr};
    EXPECT_EQ("{\"model\":\"m\",\"prompt\":\"a \\\"b\\\"\",\"max_tokens\":9,\"stream\":true,"
              "\"stream_options\":{\"include_usage\":true}}", body(plain, words));
    EXPECT_EQ("{\"model\":\"m\",\"prompt\":[5,6],\"max_tokens\":9,\"stream\":true,"
              "\"stream_options\":{\"include_usage\":true}}", body(plain, numbers));
    json_t *extra = json_loads("{\"top_p\":0.5,\"stream\":1}", 0, nullptr);
    openai_style chat = {true, "m", true, true, 0.25, extra};
    EXPECT_EQ(
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a \\\"b\\\"\"}],"
        "\"max_completion_tokens\":9,\"stream\":1,\"stream_options\":{\"include_usage\":true},"
        "\"temperature\":0.25,\"ignore_eos\":true,\"top_p\":0.5}",
        body(chat, words));
    json_decref(extra);
    char bad[] = "\xff";
    EXPECT_EQ("(null)", body(plain, {bad, 1, nullptr, 0, 1, 1, 0}));
}

struct Chunk : openai_chunk {
    fault why = {};
    bool ok;
    Chunk(const std::string &json, bool chat)
    {
        ok = openai_chunk_open(json.data(), json.size(), chat, this, &why);
    }
    ~Chunk() { openai_chunk_close(this); }
    std::string said() const { return std::string(text ? text : "", text_bytes); }
};

TEST(openai, completion_chunks)
{
    Chunk text("{\"choices\":[{\"text\":\"ab\",\"finish_reason\":null}]}", false);
    EXPECT_TRUE(text.ok && text.content && text.answer && !text.finished && !text.has_usage);
    EXPECT_EQ("ab", text.said());
    Chunk half("{\"choices\":[{\"text\":\"\",\"finish_reason\":null}]}", false);
    EXPECT_TRUE(half.content) << "a token without text is a token";
    Chunk end("{\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}", false);
    EXPECT_TRUE(end.answer && end.finished && !end.content);
    Chunk both("{\"choices\":[{\"text\":\"z\",\"finish_reason\":\"length\"}],\"usage\":"
               "{\"prompt_tokens\":3,\"completion_tokens\":4}}", false);
    EXPECT_TRUE(both.content && both.finished && both.has_usage);
    EXPECT_EQ(3u, both.input_tokens);
    EXPECT_EQ(4u, both.output_tokens);
}

TEST(openai, chat_chunks)
{
    Chunk role("{\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}", true);
    EXPECT_TRUE(role.ok && role.answer && !role.content);
    for (const char *key : {"content", "reasoning_content", "reasoning"}) {
        Chunk c(std::string("{\"choices\":[{\"delta\":{\"") + key + "\":\"x\"}}]}", true);
        EXPECT_TRUE(c.content) << key;
        EXPECT_EQ("x", c.said());
    }
    Chunk tool("{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0}]}}]}", true);
    EXPECT_TRUE(tool.content);
    Chunk end("{\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}", true);
    EXPECT_TRUE(end.finished && !end.content);
}

TEST(openai, the_usage_chunk_is_no_answer)
{
    Chunk c("{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}", false);
    EXPECT_TRUE(c.ok && c.has_usage && !c.answer);
    Chunk none("{\"choices\":[],\"usage\":null}", false);
    EXPECT_TRUE(none.ok && !none.has_usage);
}

TEST(openai, experts_wherever_they_are)
{
    std::string experts = "\"experts\":{\"hits\":9,\"misses\":1,\"bytes\":4096,\"stall_ms\":2.5}";
    for (const std::string &text : {
             "{\"choices\":[]," + experts + "}", "{\"usage\":{" + experts + "}}",
             "{\"timings\":{\"prompt_n\":1," + experts + "}}",
         }) {
        Chunk c(text, true);
        EXPECT_TRUE(c.experts.known) << text;
        EXPECT_EQ(9, c.experts.hits);
        EXPECT_EQ(1, c.experts.misses);
        EXPECT_EQ(4096, c.experts.bytes);
        EXPECT_EQ(2.5, c.experts.stall_ms);
    }
    EXPECT_FALSE(Chunk("{\"experts\":{\"hits\":\"many\"}}", true).experts.known);
}

TEST(openai, errors_in_the_stream)
{
    Chunk c("{\"error\":{\"message\":\"engine gone\",\"code\":500}}", false);
    EXPECT_FALSE(c.ok);
    EXPECT_STREQ("the server broke off: engine gone", c.why.text);
    EXPECT_FALSE(Chunk("[1]", false).ok);
    EXPECT_FALSE(Chunk("{", false).ok);
    EXPECT_FALSE(Chunk("", false).ok);
}

std::string error(int status, const std::string &text)
{
    fault f = {};
    openai_error(status, text.data(), text.size(), &f);
    return f.text;
}

TEST(openai, errors_of_http)
{
    EXPECT_EQ("HTTP 404: no model x", error(404, "{\"error\":{\"message\":\"no model x\"}}"));
    EXPECT_EQ("HTTP 400: bad", error(400, "{\"error\":\"bad\"}"));
    EXPECT_EQ("HTTP 400: bad", error(400, "{\"object\":\"error\",\"message\":\"bad\"}"));
    EXPECT_EQ("HTTP 502: <html>", error(502, "<html>"));
    EXPECT_EQ("HTTP 500: ", error(500, ""));
}

TEST(openai, the_first_model)
{
    fault f = {};
    std::string list = "{\"data\":[{\"id\":\"a/b\"},{\"id\":\"c\"}]}";
    char *id = openai_first_model(list.data(), list.size(), &f);
    EXPECT_STREQ("a/b", id);
    free(id);
    EXPECT_EQ(nullptr, openai_first_model("{\"data\":[]}", 11, &f));
    EXPECT_NE('\0', f.text[0]);
}

} // namespace
