#include "server/openai/openai_asked.h"

#include <cfloat>

#include "tests/server/openai/openai_support.h"

namespace {

using openai_test::Asked;
using openai_test::Parse;

const struct openai_model model = {"served", nullptr, 96, 128};

bool Read(Asked &a, const std::string &body)
{
    a.body = Parse(body);
    struct openai_fields f = {a.body.get(), "", &a.refusal};
    bool ok = openai_asked_read(&a.asked, &f, &model, &a.limits);
    EXPECT_EQ(ok, !a.refusal.refused);
    return ok;
}

TEST(OpenaiAsked, NothingAskedIsTheDefault)
{
    Asked a;
    ASSERT_TRUE(Read(a, "{}"));
    EXPECT_EQ(1u, a.asked.n);
    EXPECT_EQ(1.0f, a.asked.sampling.temperature);
    EXPECT_EQ(1.0f, a.asked.sampling.top_p);
    EXPECT_FALSE(a.asked.sampling.has_seed);
    EXPECT_FALSE(a.asked.stream || a.asked.ignore_eos || a.asked.keep_special ||
                 a.asked.include_stop || a.asked.return_token_ids || a.asked.include_usage);
    EXPECT_EQ(OPENAI_GRAMMAR_NONE, a.asked.grammar.kind);
}

TEST(OpenaiAsked, ReadsEverySharedField)
{
    Asked a;
    ASSERT_TRUE(Read(a, R"({"model":"served","stream":true,
        "stream_options":{"include_usage":true,"continuous_usage_stats":true},"n":3,"best_of":3,
        "seed":9007199254740993,"temperature":0.5,"top_p":0.25,"top_k":40,"min_p":0.125,
        "presence_penalty":-2,"frequency_penalty":2,"repetition_penalty":1.5,
        "logit_bias":{"5":-100,"95":100,"7":0.5},"stop":["a","bc"],"stop_token_ids":[1,2],
        "min_tokens":4,"ignore_eos":true,"skip_special_tokens":false,
        "include_stop_str_in_output":true,"return_token_ids":true,"priority":-3,
        "request_id":"mine","user":"u","cache_salt":"s","metadata":{"k":"v"},"store":false,
        "nobody_knows_this":1})")) << a.why();
    const struct openai_asked &x = a.asked;
    EXPECT_TRUE(x.stream && x.include_usage && x.continuous_usage);
    EXPECT_EQ(3u, x.n);
    EXPECT_EQ(request_salt("s", 1), x.cache_salt);
    EXPECT_EQ(9007199254740993u, x.sampling.seed) << "a double would lose the last digit";
    EXPECT_EQ(0.5f, x.sampling.temperature);
    EXPECT_EQ(0.25f, x.sampling.top_p);
    EXPECT_EQ(40u, x.sampling.top_k);
    EXPECT_EQ(0.125f, x.sampling.min_p);
    EXPECT_EQ(-2.0f, x.sampling.presence_penalty);
    EXPECT_EQ(2.0f, x.sampling.frequency_penalty);
    EXPECT_EQ(1.5f, x.sampling.repetition_penalty);
    ASSERT_EQ(3u, x.bias_count);
    EXPECT_EQ(5u, x.bias[0].token);
    EXPECT_EQ(-100.0f, x.bias[0].bias);
    EXPECT_EQ(95u, x.bias[1].token);
    EXPECT_EQ(0.5f, x.bias[2].bias);
    EXPECT_EQ(2u, x.stops.count);
    EXPECT_EQ(2u, x.stop_token_count);
    EXPECT_EQ(4u, x.min_tokens);
    EXPECT_TRUE(x.ignore_eos && x.keep_special && x.include_stop && x.return_token_ids);
    EXPECT_EQ(-3, x.priority);
    EXPECT_STREQ("mine", x.name);
}

TEST(OpenaiAsked, ValuesWithAMeaningOfTheirOwn)
{
    Asked a;
    ASSERT_TRUE(Read(a, R"({"top_k":-1,"top_p":0,"seed":-1,"stop":"one","stop_token_ids":[],
                            "logit_bias":{},"model":""})"));
    EXPECT_EQ(0u, a.asked.sampling.top_k) << "-1 is all";
    EXPECT_EQ(FLT_MIN, a.asked.sampling.top_p) << "the likeliest alone";
    EXPECT_EQ(UINT64_MAX, a.asked.sampling.seed);
    EXPECT_TRUE(a.asked.sampling.has_seed);
    EXPECT_EQ(1u, a.asked.stops.count);
    EXPECT_EQ(STATUS_OK, sampler_params_check(&a.asked.sampling, nullptr));
}

TEST(OpenaiAsked, UsageInEveryChunkNeedsUsage)
{
    Asked a;
    ASSERT_TRUE(Read(a, R"({"stream":true,"stream_options":{"continuous_usage_stats":true}})"));
    EXPECT_FALSE(a.asked.continuous_usage);
}

TEST(OpenaiAsked, RefusalsNameTheField)
{
    const struct {
        const char *param, *body;
    } cases[] = {
        {"temperature", R"({"temperature":-1})"},
        {"temperature", R"({"temperature":"hot"})"},
        {"top_p", R"({"top_p":1.5})"},
        {"top_k", R"({"top_k":-2})"},
        {"min_p", R"({"min_p":2})"},
        {"presence_penalty", R"({"presence_penalty":3})"},
        {"frequency_penalty", R"({"frequency_penalty":-3})"},
        {"repetition_penalty", R"({"repetition_penalty":0})"},
        {"seed", R"({"seed":1.5})"},
        {"seed", R"({"seed":"1"})"},
        {"n", R"({"n":0})"},
        {"n", R"({"n":129})"},
        {"best_of", R"({"n":2,"best_of":3})"},
        {"stream", R"({"stream":1})"},
        {"stream_options", R"({"stream_options":{"include_usage":true}})"},
        {"stream_options.include_usage", R"({"stream":true,"stream_options":{"include_usage":1}})"},
        {"stop", R"({"stop":1})"},
        {"stop", R"({"stop":[1]})"},
        {"stop", R"({"stop":""})"},
        {"stop",
         R"({"stop":["1","2","3","4","5","6","7","8","9","a","b","c","d","e","f","g","h"]})"},
        {"stop_token_ids", R"({"stop_token_ids":[96]})"},
        {"logit_bias", R"({"logit_bias":[]})"},
        {"logit_bias", R"({"logit_bias":{"96":1}})"},
        {"logit_bias", R"({"logit_bias":{"x":1}})"},
        {"logit_bias", R"({"logit_bias":{"":1}})"},
        {"logit_bias", R"({"logit_bias":{"-1":1}})"},
        {"logit_bias", R"({"logit_bias":{"99999999999999999999999":1}})"},
        {"logit_bias", R"({"logit_bias":{"1":101}})"},
        {"logit_bias", R"({"logit_bias":{"1":"1"}})"},
        {"min_tokens", R"({"min_tokens":-1})"},
        {"ignore_eos", R"({"ignore_eos":"yes"})"},
        {"priority", R"({"priority":2147483648})"},
        {"request_id", R"({"request_id":7})"},
        {"cache_salt", R"({"cache_salt":7})"},
        {"cache_salt", R"({"cache_salt":""})"},
        {"store", R"({"store":true})"},
        {"detokenize", R"({"detokenize":false})"},
        {"spaces_between_special_tokens", R"({"spaces_between_special_tokens":false})"},
        {"prompt_logprobs", R"({"prompt_logprobs":1})"},
        {"truncate_prompt_tokens", R"({"truncate_prompt_tokens":5})"},
        {"guided_json", R"({"guided_json":{"type":"object"}})"},
        {"use_beam_search", R"({"use_beam_search":true})"},
        {"bad_words", R"({"bad_words":["x"]})"},
        {"allowed_token_ids", R"({"allowed_token_ids":[1]})"},
        {"response_format", R"({"response_format":{"type":"json_object"}})"}, /* no tokenizer */
    };
    for (const auto &c : cases) {
        Asked a;
        EXPECT_FALSE(Read(a, c.body)) << c.body;
        EXPECT_EQ(c.param, a.param()) << c.body << ": " << a.why();
        EXPECT_EQ(HTTP_BAD_VALUE, a.refusal.problem) << c.body;
        EXPECT_NE("", a.why());
    }
    Asked many;
    std::string ids = "{\"stop_token_ids\":[";
    for (int i = 0; i <= REQUEST_STOP_TOKENS_MAX; i++)
        ids += i ? ",1" : "1";
    EXPECT_FALSE(Read(many, ids + "]}"));
    EXPECT_EQ("stop_token_ids", many.param());
    Asked named;
    EXPECT_FALSE(Read(named, "{\"request_id\":\"" + std::string(129, 'x') + "\"}"));
    EXPECT_EQ("request_id", named.param());
}

TEST(OpenaiAsked, AnotherModelIsNotFound)
{
    Asked a;
    EXPECT_FALSE(Read(a, R"({"model":"gpt-4"})"));
    EXPECT_EQ(HTTP_NO_MODEL, a.refusal.problem);
    EXPECT_EQ("model", a.param());
    EXPECT_EQ("the model 'gpt-4' is not served here, 'served' is", a.why());
    Asked longer;
    EXPECT_FALSE(Read(longer, "{\"model\":\"served\\u0000\"}")) << "compared with its length";
}

void AddPrompts(Asked &a, uint32_t count, uint32_t tokens)
{
    ASSERT_TRUE(openai_asked_prompts(&a.asked, count, &a.refusal));
    for (uint32_t i = 0; i < count; i++) {
        a.asked.prompts[i].ids = static_cast<uint32_t *>(calloc(tokens + 1, sizeof(uint32_t)));
        a.asked.prompts[i].count = tokens;
    }
}

bool Check(Asked &a)
{
    return openai_asked_check(&a.asked, &model, &a.limits, "prompt", &a.refusal);
}

TEST(OpenaiAsked, ThePromptMustFitTheContext)
{
    for (uint32_t tokens : {1u, 127u, 128u, 129u}) {
        for (bool samples : {true, false}) {
            Asked a;
            AddPrompts(a, 1, tokens);
            a.asked.has_max_tokens = !samples;
            bool fits = tokens < 128 || (tokens == 128 && !samples);
            EXPECT_EQ(fits, Check(a)) << tokens << samples;
            if (!fits) {
                EXPECT_EQ(HTTP_CONTEXT_LENGTH, a.refusal.problem);
                EXPECT_EQ("prompt", a.param());
            }
        }
    }
    Asked empty;
    AddPrompts(empty, 1, 0);
    EXPECT_FALSE(Check(empty));
    EXPECT_EQ("prompt has no tokens", empty.why());
}

TEST(OpenaiAsked, ChoicesAreBounded)
{
    Asked a;
    a.limits.choices_max = 8;
    AddPrompts(a, 4, 1);
    a.asked.n = 2;
    EXPECT_TRUE(Check(a));
    a.asked.n = 3;
    EXPECT_FALSE(Check(a));
    EXPECT_EQ("n", a.param());
}

TEST(OpenaiAsked, MinTokensAreWithinMaxTokens)
{
    Asked a;
    AddPrompts(a, 1, 1);
    a.asked.has_max_tokens = true;
    a.asked.max_tokens = a.asked.min_tokens = 3;
    EXPECT_TRUE(Check(a));
    a.asked.min_tokens = 4;
    EXPECT_FALSE(Check(a));
    EXPECT_EQ("min_tokens", a.param());
}

TEST(OpenaiAsked, EmptyIsWhatNeedsNoEngine)
{
    Asked a;
    EXPECT_FALSE(openai_asked_is_empty(&a.asked)) << "as many as fit";
    a.asked.has_max_tokens = true;
    EXPECT_TRUE(openai_asked_is_empty(&a.asked));
    a.asked.echo = true;
    EXPECT_TRUE(openai_asked_is_empty(&a.asked));
    a.asked.sampling.logprobs = true;
    EXPECT_FALSE(openai_asked_is_empty(&a.asked)) << "the prompt is scored";
    a.asked.max_tokens = 1;
    a.asked.echo = a.asked.sampling.logprobs = false;
    EXPECT_FALSE(openai_asked_is_empty(&a.asked));
}

TEST(OpenaiAsked, EachRequestOwnsWhatItNeeds)
{
    struct request *r[2] = {request_open(1), request_open(2)};
    {
        Asked a;
        ASSERT_TRUE(Read(a, R"({"n":2,"seed":7,"stop":["x","yy"],"stop_token_ids":[3],
                                "logit_bias":{"4":5},"min_tokens":1,"ignore_eos":true,
                                "skip_special_tokens":false,"priority":2,"cache_salt":"mine"})"));
        AddPrompts(a, 1, 3);
        a.asked.prompts[0].ids[2] = 9;
        a.asked.has_max_tokens = true;
        a.asked.max_tokens = 6;
        a.asked.echo = a.asked.sampling.logprobs = true;
        for (uint32_t i = 0; i < 2; i++)
            ASSERT_TRUE(openai_asked_fill(&a.asked, &a.asked.prompts[0], i, &r[i]->asked,
                                          &a.refusal));
    } /* body and asked are gone */
    for (uint64_t i = 0; i < 2; i++) {
        const struct request_asked &x = r[i]->asked;
        EXPECT_EQ(i == 0 ? 2u : 0u, x.choices); /* told once */
        EXPECT_EQ(7 + i, x.sampling.seed) << "choices differ";
        EXPECT_EQ(request_salt("mine", 4), x.cache_salt) << "and share their prompt";
        EXPECT_TRUE(x.sampling.has_seed);
        ASSERT_EQ(3u, x.prompt_tokens);
        EXPECT_EQ(9u, x.prompt[2]);
        EXPECT_EQ(2u, x.stops.count);
        EXPECT_EQ(0, memcmp("yy", x.stops.stop[1].text, 2));
        EXPECT_EQ(1u, x.stop_token_count);
        EXPECT_EQ(3u, x.stop_tokens[0]);
        ASSERT_EQ(1u, x.sampling.bias_count);
        EXPECT_EQ(x.bias, x.sampling.bias);
        EXPECT_EQ(4u, x.bias[0].token);
        EXPECT_TRUE(x.has_max_tokens && x.ignore_eos && x.keep_special && x.prompt_logprobs);
        EXPECT_EQ(6u, x.max_tokens);
        EXPECT_EQ(1u, x.min_tokens);
        EXPECT_EQ(2, x.priority);
        EXPECT_EQ(nullptr, x.grammar);
        EXPECT_EQ(STATUS_OK, sampler_params_check(&x.sampling, nullptr));
        request_close(r[i]);
    }
}

} // namespace
