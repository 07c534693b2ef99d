#include "server/moering_v1/generate_decode.h"

#include <gtest/gtest.h>
#include <string.h>

#include <string>
#include <vector>

namespace {

struct Message {
    Moering__V1__GenerateRequest m;
    Moering__V1__SamplingParams s;
    Moering__V1__TokenIds ids;
    std::vector<uint32_t> prompt = {1, 2, 3};

    Message()
    {
        moering__v1__generate_request__init(&m);
        moering__v1__sampling_params__init(&s);
        moering__v1__token_ids__init(&ids);
        m.sampling = &s;
        m.prompt_case = MOERING__V1__GENERATE_REQUEST__PROMPT_TOKENS;
        m.tokens = &ids;
    }
};

struct Decoded {
    struct request *r = request_open(1);
    struct error error = {};
    enum status status;

    explicit Decoded(Message &message)
    {
        struct generate_model model = {"toy", nullptr, 100, 50};
        message.ids.ids = message.prompt.data();
        message.ids.n_ids = message.prompt.size();
        status = generate_decode(&model, &message.m, r, &error);
    }
    ~Decoded() { request_close(r); }
    bool says(const char *part) const { return strstr(error.text, part) != nullptr; }
};

TEST(generate_decode, absent_fields_have_their_defaults)
{
    Message m;
    Decoded d(m);
    ASSERT_EQ(STATUS_OK, d.status) << d.error.text;
    EXPECT_EQ(3u, d.r->asked.prompt_tokens);
    EXPECT_EQ(2u, d.r->asked.prompt[1]);
    EXPECT_EQ(1.0f, d.r->asked.sampling.temperature);
    EXPECT_EQ(1.0f, d.r->asked.sampling.top_p);
    EXPECT_EQ(1.0f, d.r->asked.sampling.repetition_penalty);
    EXPECT_FALSE(d.r->asked.sampling.has_seed);
    EXPECT_FALSE(d.r->asked.has_max_tokens);
    m.m.sampling = nullptr;
    EXPECT_EQ(STATUS_OK, Decoded(m).status);
}

TEST(generate_decode, present_zeroes_count)
{
    Message m;
    m.s._temperature_case = MOERING__V1__SAMPLING_PARAMS___TEMPERATURE_TEMPERATURE;
    m.s._seed_case = MOERING__V1__SAMPLING_PARAMS___SEED_SEED;
    m.m._max_tokens_case = MOERING__V1__GENERATE_REQUEST___MAX_TOKENS_MAX_TOKENS;
    Decoded d(m);
    ASSERT_EQ(STATUS_OK, d.status);
    EXPECT_EQ(0.0f, d.r->asked.sampling.temperature);
    EXPECT_TRUE(d.r->asked.sampling.has_seed);
    EXPECT_TRUE(d.r->asked.has_max_tokens);
    EXPECT_EQ(0u, d.r->asked.max_tokens);
}

TEST(generate_decode, everything_arrives)
{
    Message m;
    char stop[] = "stop";
    ProtobufCBinaryData stops[] = {{4, reinterpret_cast<uint8_t *>(stop)}};
    uint32_t stop_ids[] = {7, 9};
    m.m.n_stop = 1;
    m.m.stop = stops;
    m.m.n_stop_token_ids = 2;
    m.m.stop_token_ids = stop_ids;
    m.m.priority = -4;
    m.m.top_logprobs = 3;
    m.m.ignore_eos = m.m.include_stop = m.m.keep_special = true;
    m.m.min_tokens = 2;
    m.m.model = const_cast<char *>("toy");
    m.m.cache_salt = const_cast<char *>("mine");
    Decoded d(m);
    ASSERT_EQ(STATUS_OK, d.status) << d.error.text;
    const struct request_asked &a = d.r->asked;
    EXPECT_EQ(request_salt("mine", 4), a.cache_salt);
    EXPECT_EQ(1u, a.stops.count);
    EXPECT_EQ(2u, a.stop_token_count);
    EXPECT_EQ(9u, a.stop_tokens[1]);
    EXPECT_EQ(-4, a.priority);
    EXPECT_TRUE(a.sampling.logprobs);
    EXPECT_EQ(3u, a.sampling.top_logprobs);
    EXPECT_TRUE(a.ignore_eos && a.include_stop && a.keep_special);
    EXPECT_EQ(2u, a.min_tokens);
}

TEST(generate_decode, refusals_name_the_field)
{
    {
        Message m;
        m.prompt = {1, 100};
        EXPECT_TRUE(Decoded(m).says("prompt.tokens[1] is 100"));
    }
    {
        Message m;
        m.prompt.clear();
        EXPECT_TRUE(Decoded(m).says("no tokens"));
    }
    {
        Message m;
        m.prompt.assign(50, 1);
        Decoded d(m);
        EXPECT_EQ(STATUS_INVALID, d.status);
        EXPECT_TRUE(d.says("--max-model-len"));
        m.prompt.resize(49);
        EXPECT_EQ(STATUS_OK, Decoded(m).status);
    }
    {
        Message m;
        m.m.prompt_case = MOERING__V1__GENERATE_REQUEST__PROMPT__NOT_SET;
        EXPECT_TRUE(Decoded(m).says("prompt is missing"));
    }
    {
        Message m;
        m.m.prompt_case = MOERING__V1__GENERATE_REQUEST__PROMPT_TEXT;
        m.m.text = {0, nullptr};
        EXPECT_EQ(STATUS_UNSUPPORTED, Decoded(m).status);
    }
    {
        Message m;
        m.m.model = const_cast<char *>("other");
        EXPECT_EQ(STATUS_NOT_FOUND, Decoded(m).status);
        std::string name(GENERATE_NAME_BYTES_MAX + 1, 'm');
        m.m.model = &name[0];
        EXPECT_EQ(STATUS_INVALID, Decoded(m).status);
    }
    {
        Message m;
        m.m.top_logprobs = SAMPLER_TOP_LOGPROBS_MAX + 1;
        EXPECT_TRUE(Decoded(m).says("top_logprobs"));
    }
    {
        Message m;
        uint8_t half[] = {0xe2, 0x82};
        ProtobufCBinaryData stops[] = {{2, half}};
        m.m.n_stop = 1;
        m.m.stop = stops;
        EXPECT_TRUE(Decoded(m).says("stop[0] is not UTF-8"));
    }
}

} // namespace
