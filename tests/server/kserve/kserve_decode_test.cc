#include "server/kserve/kserve_decode.h"

#include <set>

#include "tests/server/kserve/kserve_support.h"
#include "tests/server/openai/openai_support.h"

namespace {

using kserve_test::Request;
using openai_test::Tokenizer;

class KserveDecode : public testing::Test {
  protected:
    ~KserveDecode() override { kserve_asked_reset(&got_); }
    bool Decode(const Request &r)
    {
        kserve_asked_reset(&got_);
        refusal_ = {};
        bool ok = kserve_decode(&r.m, &model_, &got_, &refusal_);
        EXPECT_EQ(ok, !refusal_.refused);
        return ok;
    }
    std::string Refused(const Request &r)
    {
        EXPECT_FALSE(Decode(r));
        return refusal_.why.text;
    }
    std::vector<uint32_t> Prompt(uint32_t row = 0)
    {
        const struct openai_prompt &p = got_.asked.prompts[row];
        return {p.ids, p.ids + p.count};
    }
    Tokenizer t_;
    struct openai_model model_ = {"served", t_.get(), 512, 1024};
    struct kserve_asked got_ = {};
    struct openai_refusal refusal_ = {};
};

TEST_F(KserveDecode, ATextAloneHasTheDefaults)
{
    Request r("hello");
    ASSERT_TRUE(Decode(r)) << refusal_.why.text;
    EXPECT_EQ(t_.encode("hello"), Prompt());
    EXPECT_EQ(16u, got_.asked.max_tokens);
    EXPECT_EQ(1u << KSERVE_TEXT, got_.outputs);
    EXPECT_FALSE(got_.asked.stream || got_.raw || got_.echo || got_.asked.sampling.logprobs);
}

TEST_F(KserveDecode, SettingsComeFromTensorsParametersAndJsonTheFirstWins)
{
    Request r("hello");
    r.Texts("sampling_parameters",
            {R"({"max_tokens":1,"top_k":2,"top_p":0.5,"logit_bias":{"7":3},"stop":["x","y"]})"});
    r.IntParameter("max_tokens", 3);
    r.IntParameter("top_k", 4);
    r.BoolParameter("ignore_eos", true);
    r.DoubleParameter("min_p", 0.25);
    r.Int("max_tokens", 5);
    r.Float("temperature", 0.75);
    r.Bool("stream", true);
    ASSERT_TRUE(Decode(r)) << refusal_.why.text;
    EXPECT_EQ(5u, got_.asked.max_tokens);
    EXPECT_EQ(4u, got_.asked.sampling.top_k);
    EXPECT_EQ(0.5f, got_.asked.sampling.top_p);
    EXPECT_EQ(0.25f, got_.asked.sampling.min_p);
    EXPECT_EQ(0.75f, got_.asked.sampling.temperature);
    EXPECT_TRUE(got_.asked.ignore_eos);
    EXPECT_TRUE(got_.asked.stream);
    EXPECT_EQ(2u, got_.asked.stops.count);
    EXPECT_EQ(1u, got_.asked.bias_count);
}

TEST_F(KserveDecode, BackendsOtherNamesMeanTheSame)
{
    Request r("hello");
    r.Int("random_seed", 9);
    r.Texts("stop_words", {"a", "b", "c"});
    ASSERT_TRUE(Decode(r)) << refusal_.why.text;
    EXPECT_TRUE(got_.asked.sampling.has_seed);
    EXPECT_EQ(9u, got_.asked.sampling.seed);
    EXPECT_EQ(3u, got_.asked.stops.count);
}

TEST_F(KserveDecode, RawRequestsAreAnsweredRaw)
{
    Request r;
    r.Raw("text_input", "BYTES", {1, 1}, Request::RawText("hello"));
    r.Raw("max_tokens", "INT32", {1}, std::string("\x07\0\0\0", 4));
    ASSERT_TRUE(Decode(r)) << refusal_.why.text;
    EXPECT_TRUE(got_.raw);
    EXPECT_EQ(7u, got_.asked.max_tokens);
    EXPECT_EQ(t_.encode("hello"), Prompt());
}

TEST_F(KserveDecode, OutputsAreThoseNamedOrTheTextAndWhatFlagsAdd)
{
    Request named("x");
    named.Want("finish_reason");
    named.Want("num_output_tokens");
    named.Bool("return_num_input_tokens", true);
    ASSERT_TRUE(Decode(named)) << refusal_.why.text;
    EXPECT_EQ(1u << KSERVE_FINISH_REASON | 1u << KSERVE_OUTPUT_TOKENS, got_.outputs);
    Request flags("x");
    flags.Bool("return_num_input_tokens", true);
    flags.Bool("return_finish_reason", false);
    ASSERT_TRUE(Decode(flags)) << refusal_.why.text;
    EXPECT_EQ(1u << KSERVE_TEXT | 1u << KSERVE_INPUT_TOKENS, got_.outputs);
}

TEST_F(KserveDecode, LogProbabilitiesAreAskedForByFlagOrByName)
{
    Request flag("x"), named("x"), other("x"), ids("x");
    flag.Bool("return_log_probs", true);
    ASSERT_TRUE(Decode(flag)) << refusal_.why.text;
    EXPECT_EQ(1u << KSERVE_TEXT | 1u << KSERVE_LOG_PROBS | 1u << KSERVE_LOG_PROB_SUM, got_.outputs);
    EXPECT_TRUE(got_.asked.sampling.logprobs);
    named.Want("output_log_probs");
    ASSERT_TRUE(Decode(named)) << refusal_.why.text;
    EXPECT_EQ(1u << KSERVE_LOG_PROBS, got_.outputs);
    EXPECT_TRUE(got_.asked.sampling.logprobs);
    other.BoolParameter("return_cumulative_logprob", true);
    ASSERT_TRUE(Decode(other)) << refusal_.why.text;
    EXPECT_EQ(1u << KSERVE_TEXT | 1u << KSERVE_CUMULATIVE, got_.outputs);
    EXPECT_TRUE(got_.asked.sampling.logprobs);
    ids.Want("output_ids");
    ASSERT_TRUE(Decode(ids)) << refusal_.why.text;
    EXPECT_EQ(1u << KSERVE_IDS, got_.outputs);
    EXPECT_FALSE(got_.asked.sampling.logprobs);
}

TEST_F(KserveDecode, ABatchIsOnePromptForEachRowAndOneOfEachSetting)
{
    Request r;
    r.Texts("text_input", {"a", "bc"}, {2, 1});
    r.Ints("max_tokens", {2, 1}, {9, 9});
    r.Float("temperature", 0.5f);
    r.Texts("stop_words", {"x", "y", "x", "y"}, {2, 2});
    r.Ints("stop_token_ids", {2}, {5, 6});
    ASSERT_TRUE(Decode(r)) << refusal_.why.text;
    ASSERT_EQ(2u, got_.asked.prompt_count);
    EXPECT_EQ(t_.encode("a"), Prompt(0));
    EXPECT_EQ(t_.encode("bc"), Prompt(1));
    EXPECT_EQ(9u, got_.asked.max_tokens);
    EXPECT_EQ(2u, got_.asked.stops.count);
    EXPECT_EQ(2u, got_.asked.stop_token_count) << "two for all, not one for each";
    Request differs;
    differs.Texts("text_input", {"a", "b"});
    differs.Ints("max_tokens", {2}, {9, 8});
    EXPECT_EQ("input 'max_tokens' is not the same for all 2 prompts: send separate requests",
              Refused(differs));
    Request three;
    three.Texts("text_input", {"a", "b"});
    three.Ints("max_tokens", {3}, {9, 9, 9});
    EXPECT_EQ("input 'max_tokens' has 3 elements, must have 1 or one for each prompt (2)",
              Refused(three));
}

TEST_F(KserveDecode, ThePromptComesFirstIfItIsNotExcluded)
{
    Request r("hello");
    r.BoolParameter("exclude_input_in_output", false);
    ASSERT_TRUE(Decode(r)) << refusal_.why.text;
    EXPECT_EQ("hello", std::string(got_.asked.prompts[0].echo, got_.asked.prompts[0].echo_bytes));
}

TEST_F(KserveDecode, GrammarsOfTheJsonTextOutliveDecoding)
{
    Request r("x");
    r.TextParameter("sampling_parameters", R"({"structured_outputs":{"choice":["yes","no"]}})");
    ASSERT_TRUE(Decode(r)) << refusal_.why.text;
    struct request *request = request_open(1);
    EXPECT_TRUE(
        openai_asked_fill(&got_.asked, &got_.asked.prompts[0], 0, &request->asked, &refusal_));
    EXPECT_NE(nullptr, request->asked.grammar);
    request_close(request);
}

TEST_F(KserveDecode, RefusalsNameWhatIsWrong)
{
    Request none, unknown("x"), type("x"), range("x"), json("x"), word("x"), output("x"), count;
    EXPECT_EQ("the input text_input is missing (or input_ids)", Refused(none));
    unknown.Int("max_length", 1);
    EXPECT_EQ("input 'max_length' is not known; ModelMetadata lists those that are",
              Refused(unknown));
    type.TextParameter("max_tokens", "5");
    EXPECT_EQ(0u, Refused(type).find("max_tokens must be"));
    range.Float("top_p", 1.5);
    EXPECT_NE(std::string::npos, Refused(range).find("top_p"));
    json.Texts("sampling_parameters", {"[1]"});
    EXPECT_EQ("sampling_parameters is not the text of a JSON object", Refused(json));
    word.Texts("sampling_parameters", {R"({"temprature":1})"});
    EXPECT_EQ("sampling_parameters has 'temprature', which is not known", Refused(word));
    output.Want("logits");
    EXPECT_EQ("output 'logits' is not known; ModelMetadata lists those that are", Refused(output));
    count.Raw("text_input", "BYTES", {1}, Request::RawText("x"));
    count.Int("max_tokens", 1);
    EXPECT_EQ("raw_input_contents has 1 entries for 2 inputs", Refused(count));
}

TEST_F(KserveDecode, OtherModelsAndVersionsAreNotFound)
{
    Request r("x");
    r.m.model_name = r.Keep("other");
    EXPECT_EQ("the model 'other' is not served here, 'served' is", Refused(r));
    EXPECT_EQ(HTTP_NO_MODEL, refusal_.problem);
    r.m.model_name = r.Keep("served");
    r.m.model_version = r.Keep("2");
    EXPECT_FALSE(Decode(r));
    EXPECT_EQ(HTTP_NO_MODEL, refusal_.problem);
    r.m.model_version = r.Keep("1");
    EXPECT_TRUE(Decode(r)) << refusal_.why.text;
}

TEST_F(KserveDecode, UnknownParametersAreRoutersBusiness)
{
    Request r("x");
    r.IntParameter("priority", 7);
    r.BoolParameter("triton_enable_empty_final_response", true);
    ASSERT_TRUE(Decode(r)) << refusal_.why.text;
    EXPECT_EQ(0, got_.asked.priority);
}

TEST_F(KserveDecode, EverySettingHasAFieldThatIsRead)
{
    std::set<std::string> names;
    for (const struct kserve_setting *s = kserve_settings; s->name; s++) {
        EXPECT_TRUE(names.insert(s->name).second) << s->name << " is there twice";
        if (std::string(s->name) == "text_input")
            continue;
        Request r("x"); /* an object is no value of any of them */
        r.Texts(s->name, {"\x01"});
        if (s->shape != KSERVE_LIST || std::string(s->type) != "BYTES") {
            EXPECT_FALSE(Decode(r)) << s->name << " is read by nobody";
        } else {
            ASSERT_TRUE(Decode(r)) << s->name << ": " << refusal_.why.text;
            EXPECT_EQ(1u, got_.asked.stops.count);
        }
    }
}

} // namespace
