#include "clients/bench/generate.h"

#include <gtest/gtest.h>
#include <moering/v1/moering.pb-c.h>

#include <string>
#include <vector>

namespace {

Moering__V1__GenerateRequest *unpacked(const generate_style &style, const prompt &p)
{
    size_t bytes = 0;
    uint8_t *wire = generate_request(&style, &p, &bytes);
    EXPECT_GE(bytes, 5u);
    EXPECT_EQ(0, wire[0]);
    size_t size = (size_t)wire[1] << 24 | (size_t)wire[2] << 16 | (size_t)wire[3] << 8 | wire[4];
    EXPECT_EQ(bytes - 5, size);
    auto *r = moering__v1__generate_request__unpack(nullptr, size, wire + 5);
    free(wire);
    return r;
}

TEST(generate, requests)
{
    char text[] = "hello";
    uint32_t ids[] = {1, 70000};
    auto *r = unpacked({nullptr, false, false, 0}, {text, 5, nullptr, 0, 1, 9, 0});
    ASSERT_NE(nullptr, r);
    EXPECT_EQ("hello", std::string((char *)r->text.data, r->text.len));
    EXPECT_EQ(9u, r->max_tokens);
    EXPECT_STREQ("", r->model);
    EXPECT_EQ(nullptr, r->sampling);
    EXPECT_FALSE(r->ignore_eos);
    moering__v1__generate_request__free_unpacked(r, nullptr);
    r = unpacked({"m", true, true, 0}, {nullptr, 0, ids, 2, 2, 3, 0});
    ASSERT_NE(nullptr, r);
    ASSERT_EQ(MOERING__V1__GENERATE_REQUEST__PROMPT_TOKENS, r->prompt_case);
    ASSERT_EQ(2u, r->tokens->n_ids);
    EXPECT_EQ(70000u, r->tokens->ids[1]);
    EXPECT_STREQ("m", r->model);
    EXPECT_TRUE(r->ignore_eos);
    ASSERT_NE(nullptr, r->sampling);
    EXPECT_EQ(MOERING__V1__SAMPLING_PARAMS___TEMPERATURE_TEMPERATURE,
              r->sampling->_temperature_case);
    EXPECT_EQ(0, r->sampling->temperature);
    moering__v1__generate_request__free_unpacked(r, nullptr);
}

std::vector<uint8_t> packed(const Moering__V1__GenerateChunk &chunk)
{
    std::vector<uint8_t> out(moering__v1__generate_chunk__get_packed_size(&chunk));
    moering__v1__generate_chunk__pack(&chunk, out.data());
    return out;
}

TEST(generate, chunks)
{
    record r;
    bool last = true;
    record_init(&r, 0, 1, true);
    record_sent(&r, 0);
    Moering__V1__GenerateChunk c = MOERING__V1__GENERATE_CHUNK__INIT;
    uint32_t token = 5;
    char text[] = "ab";
    c.tokens = &token;
    c.n_tokens = 1; /* half a character: a token without text */
    auto wire = packed(c);
    EXPECT_TRUE(generate_chunk(wire.data(), wire.size(), 10, &r, &last));
    EXPECT_FALSE(last);
    c.text.data = (uint8_t *)text;
    c.text.len = 2;
    wire = packed(c);
    EXPECT_TRUE(generate_chunk(wire.data(), wire.size(), 20, &r, &last));
    c = MOERING__V1__GENERATE_CHUNK__INIT;
    Moering__V1__Usage usage = MOERING__V1__USAGE__INIT;
    Moering__V1__ExpertUsage experts = MOERING__V1__EXPERT_USAGE__INIT;
    experts.hits = 8;
    experts.misses = 2;
    experts.bytes = 1000;
    experts.stall_ms = 1.5;
    usage.prompt_tokens = 11;
    usage.completion_tokens = 2;
    usage.experts = &experts;
    c.usage = &usage;
    c.finish_reason = MOERING__V1__FINISH_REASON__FINISH_REASON_LENGTH;
    wire = packed(c);
    EXPECT_TRUE(generate_chunk(wire.data(), wire.size(), 25, &r, &last));
    EXPECT_TRUE(last);
    record_completed(&r);
    EXPECT_EQ(2u, r.content_count);
    EXPECT_EQ(25u, r.last_ns);
    EXPECT_EQ(11u, r.input_tokens);
    EXPECT_EQ(2u, r.output_tokens);
    EXPECT_TRUE(r.experts.known);
    EXPECT_EQ(8, r.experts.hits);
    EXPECT_EQ(1.5, r.experts.stall_ms);
    EXPECT_STREQ("ab", r.text);
    uint8_t nonsense[] = {0xff, 0xff};
    EXPECT_FALSE(generate_chunk(nonsense, 2, 30, &r, &last));
    record_close(&r);
}

} // namespace
