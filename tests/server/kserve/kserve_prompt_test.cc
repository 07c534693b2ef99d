#include "server/kserve/kserve_prompt.h"

#include "tests/server/kserve/kserve_support.h"
#include "tests/server/openai/openai_support.h"

namespace {

using kserve_test::Request;
using openai_test::Tokenizer;

class KservePrompt : public testing::Test {
  protected:
    ~KservePrompt() override { openai_asked_reset(&asked_); }
    bool Read(const Request &r)
    {
        struct kserve_prompts prompts;
        openai_asked_reset(&asked_);
        refusal_ = {};
        bool ok = kserve_prompts_open(&prompts, &r.m, &refusal_) &&
                  kserve_prompts_read(&prompts, &model_, &how_, &asked_, &refusal_);
        EXPECT_EQ(ok, !refusal_.refused);
        return ok;
    }
    std::string Refused(const Request &r)
    {
        EXPECT_FALSE(Read(r));
        return refusal_.why.text;
    }
    std::vector<uint32_t> Prompt(uint32_t row)
    {
        const struct openai_prompt &p = asked_.prompts[row];
        return {p.ids, p.ids + p.count};
    }
    using Tokens = std::vector<uint32_t>;
    Tokenizer t_;
    struct openai_model model_ = {"served", t_.get(), 512, 1024};
    struct kserve_prompts_how how_ = {true, false, false};
    struct openai_asked asked_ = {};
    struct openai_refusal refusal_ = {};
};

TEST_F(KservePrompt, TextsAreRowsInEitherShape)
{
    for (const std::vector<int64_t> &shape : {std::vector<int64_t>{3}, {3, 1}}) {
        Request r;
        r.Texts("text_input", {"a", "hello", "b"}, shape);
        ASSERT_TRUE(Read(r)) << refusal_.why.text;
        ASSERT_EQ(3u, asked_.prompt_count);
        EXPECT_EQ(t_.encode("hello"), Prompt(1));
        EXPECT_EQ(nullptr, asked_.prompts[1].echo);
    }
    Request wide;
    wide.Texts("text_input", {"a", "b"}, {1, 2});
    EXPECT_EQ("input 'text_input' must have the shape [B] or [B, 1]", Refused(wide));
}

TEST_F(KservePrompt, IdsAreOneRowOrSeveralOfOneLength)
{
    Request flat, row, rows;
    flat.Ints("input_ids", {3}, {1, 2, 3});
    ASSERT_TRUE(Read(flat)) << refusal_.why.text;
    ASSERT_EQ(1u, asked_.prompt_count);
    EXPECT_EQ((Tokens{1, 2, 3}), Prompt(0));
    row.Longs("input_ids", {1, 3}, {1, 2, 511});
    ASSERT_TRUE(Read(row)) << refusal_.why.text;
    EXPECT_EQ((Tokens{1, 2, 511}), Prompt(0));
    rows.Ints("input_ids", {2, 2}, {1, 2, 3, 4});
    ASSERT_TRUE(Read(rows)) << refusal_.why.text;
    ASSERT_EQ(2u, asked_.prompt_count);
    EXPECT_EQ((Tokens{3, 4}), Prompt(1));
}

TEST_F(KservePrompt, LengthsCutRowsAndWhatIsBehindThemNeedNotBeIds)
{
    Request r;
    r.Ints("input_ids", {2, 3}, {1, 2, 3, 4, -1, -1});
    r.Ints("input_lengths", {2, 1}, {3, 1});
    ASSERT_TRUE(Read(r)) << refusal_.why.text;
    EXPECT_EQ((Tokens{1, 2, 3}), Prompt(0));
    EXPECT_EQ((Tokens{4}), Prompt(1));
    Request one, none, over, without;
    one.Ints("input_ids", {2, 1}, {1, 2});
    one.Ints("input_lengths", {1}, {1});
    EXPECT_EQ("input 'input_lengths' has 1 elements for 2 prompts", Refused(one));
    none.Ints("input_ids", {2}, {1, 2});
    none.Ints("input_lengths", {1}, {0});
    EXPECT_EQ("input 'input_lengths': element 0 must be 1 to 2, the ids that there are",
              Refused(none));
    over.Ints("input_ids", {2}, {1, 2});
    over.Ints("input_lengths", {1}, {3});
    EXPECT_EQ("input 'input_lengths': element 0 must be 1 to 2, the ids that there are",
              Refused(over));
    without.Texts("text_input", {"a"});
    without.Ints("input_lengths", {1}, {1});
    EXPECT_EQ("input_lengths goes with input_ids only", Refused(without));
}

TEST_F(KservePrompt, AnEchoIsTheTextOrTheTextOfTheIds)
{
    how_.echo = true;
    Request text, ids;
    text.Texts("text_input", {"a", "hello"});
    ASSERT_TRUE(Read(text)) << refusal_.why.text;
    EXPECT_EQ("hello", std::string(asked_.prompts[1].echo, asked_.prompts[1].echo_bytes));
    std::vector<uint32_t> hello = t_.encode("hello");
    ids.Ints("input_ids", {(int64_t)hello.size()}, {hello.begin(), hello.end()});
    ASSERT_TRUE(Read(ids)) << refusal_.why.text;
    EXPECT_EQ("hello", std::string(asked_.prompts[0].echo, asked_.prompts[0].echo_bytes));
}

TEST_F(KservePrompt, AModelWithoutATokenizerTakesIds)
{
    model_.tokenizer = nullptr;
    how_.echo = true;
    Request ids;
    ids.Ints("input_ids", {2}, {1, 2});
    ASSERT_TRUE(Read(ids)) << refusal_.why.text;
    EXPECT_EQ(nullptr, asked_.prompts[0].echo);
    EXPECT_EQ("the model 'served' has no tokenizer: send input_ids", Refused(Request("x")));
}

TEST_F(KservePrompt, RefusalsNameWhatIsWrong)
{
    Request both("x"), twice("x"), below, beyond, cube, numbers, empty, rows, huge, floats;
    both.Ints("input_ids", {1}, {1});
    EXPECT_EQ("text_input and input_ids are both there: send one", Refused(both));
    twice.Texts("text_input", {"y"});
    EXPECT_EQ("the input text_input is there twice", Refused(twice));
    below.Ints("input_ids", {2}, {1, -1});
    EXPECT_EQ("input 'input_ids' has an element that is no token id: those are below 512",
              Refused(below));
    beyond.Ints("input_ids", {1}, {512});
    EXPECT_EQ("input 'input_ids' has an element that is no token id: those are below 512",
              Refused(beyond));
    cube.Ints("input_ids", {1, 1, 1}, {1});
    EXPECT_EQ("input 'input_ids' must have the shape [n] or [B, n]", Refused(cube));
    numbers.Ints("text_input", {1}, {1});
    EXPECT_EQ("text_input must be of the datatype BYTES", Refused(numbers));
    empty.Texts("text_input", {}, {0});
    EXPECT_EQ("input 'text_input' has no prompt, 1 to 256 are allowed", Refused(empty));
    rows.Texts("text_input", std::vector<std::string>(257, "a"));
    EXPECT_EQ("input 'text_input' has too many prompts, 1 to 256 are allowed", Refused(rows));
    huge.Ints("input_ids", {INT64_MAX, 0}, {});
    EXPECT_EQ("input 'input_ids' has too many prompts, 1 to 256 are allowed", Refused(huge));
    floats.Add("input_ids", "FP32", {0});
    EXPECT_EQ("input 'input_ids' has the datatype FP32, must be of whole numbers", Refused(floats));
}

} // namespace
