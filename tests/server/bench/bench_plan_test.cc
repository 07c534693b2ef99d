#include "server/bench/bench_plan.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace {

struct config lists(const char *prompt, const char *gen, const char *sequences = "1",
                    const char *depth = "0", const char *pairs = nullptr)
{
    struct config c = {};
    c.n_prompt = prompt;
    c.n_gen = gen;
    c.sequences = sequences;
    c.n_depth = depth;
    c.prompt_gen = pairs;
    return c;
}

std::string names(const struct bench_plan &plan)
{
    std::string out;
    char name[64];
    for (uint32_t i = 0; i < plan.count; i++)
        out += std::string(i ? ", " : "") + bench_test_name(&plan.tests[i], name, sizeof name);
    return out;
}

struct Made {
    std::unique_ptr<struct bench_plan> plan{new struct bench_plan};
    struct error error = {};
    enum status status;
    explicit Made(const struct config &c) { status = bench_plan_make(plan.get(), &c, &error); }
};

TEST(bench_plan, lists_are_multiplied_out_in_order)
{
    Made one(lists("512", "128"));
    EXPECT_EQ(STATUS_OK, one.status);
    EXPECT_EQ("pp512, tg128", names(*one.plan));
    EXPECT_EQ(513u, one.plan->positions_max);
    EXPECT_EQ(1u, one.plan->sequences_max);
    Made many(lists("8,0,16", "4,2", "1,16", "0,100", "8,2;6,3"));
    EXPECT_EQ("pp8, pp16, tg4, tg4 x16, tg2, tg2 x16, pp8+tg2, pp6+tg3, pp8 @ d100, pp16 @ d100, "
              "tg4 @ d100, tg4 x16 @ d100, tg2 @ d100, tg2 x16 @ d100, pp8+tg2 @ d100, "
              "pp6+tg3 @ d100", names(*many.plan));
    EXPECT_EQ(117u, many.plan->positions_max);
    EXPECT_EQ(16u, many.plan->sequences_max);
}

TEST(bench_plan, zero_leaves_a_kind_out)
{
    EXPECT_EQ("tg3", names(*Made(lists("0", "3")).plan));
    EXPECT_EQ("pp3", names(*Made(lists("3", "0")).plan));
    EXPECT_EQ("pp3+tg4", names(*Made(lists("0", "0", "1", "0", "3,4")).plan));
    Made nothing(lists("0", "0"));
    EXPECT_EQ(STATUS_INVALID, nothing.status);
    EXPECT_STREQ("nothing to measure: --n-prompt, --n-gen and --prompt-gen are all empty",
                 nothing.error.text);
}

TEST(bench_plan, a_wrong_list_is_named)
{
    const struct {
        struct config c;
        const char *flag;
    } wrong[] = {
        {lists("", "1"), "--n-prompt"},           {lists("1,", "1"), "--n-prompt"},
        {lists("-1", "1"), "--n-prompt"},         {lists("1 2", "1"), "--n-prompt"},
        {lists("1", "16777217"), "--n-gen"},      {lists("1", "99999999999999999999"), "--n-gen"},
        {lists("1", "1", "0"), "--sequences"},    {lists("1", "1", "5000"), "--sequences"},
        {lists("1", "1", "1", "x"), "--n-depth"}, {lists("1", "1", "1", "0", "5"), "--prompt-gen"},
        {lists("1", "1", "1", "0", "5,0"), "--prompt-gen"},
        {lists("1", "1", "1", "0", "5,6,7"), "--prompt-gen"},
        {lists("1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", "1"), "--n-prompt"},
    };
    for (const auto &w : wrong) {
        Made made(w.c);
        EXPECT_EQ(STATUS_INVALID, made.status) << w.flag;
        EXPECT_EQ(0u, std::string(made.error.text).find(w.flag)) << made.error.text;
    }
    const char *sixteen = "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1";
    Made many(lists(sixteen, sixteen, sixteen));
    EXPECT_STREQ("these lists make more than 256 tests", many.error.text);
}

} // namespace
