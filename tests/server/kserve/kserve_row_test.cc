#include "server/kserve/kserve_row.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace {

TEST(KserveRow, GrowsWithEventsAndForgetsWhatWasSent)
{
    struct kserve_row row = {};
    std::string text;
    double sum = 0;
    uint32_t tokens = 0;
    for (uint32_t step = 0; step < 300; step++) {
        struct request_event *e = request_event_open(1);
        for (uint32_t i = 0; i < step % 3; i++, tokens++) {
            struct sampled token = {};
            token.token = tokens;
            token.logprob = -0.25f * (float)(tokens % 5);
            sum += (double)token.logprob;
            ASSERT_TRUE(request_event_add_token(e, &token));
            ASSERT_TRUE(request_event_add_text(e, "ab", 2));
            text += "ab";
        }
        if (step == 299) {
            e->finish = FINISH_STOP;
            e->usage.prompt_tokens = 7;
            e->usage.completion_tokens = tokens;
        }
        ASSERT_TRUE(kserve_row_add(&row, e));
        request_event_close(e);
        if (step == 150) {
            EXPECT_EQ(text, std::string(row.text, row.text_bytes));
            kserve_row_sent(&row);
            text.clear();
        }
    }
    EXPECT_EQ(text, std::string(row.text, row.text_bytes));
    ASSERT_LT(0u, row.id_count);
    EXPECT_EQ(row.id_count, row.log_prob_count);
    for (uint32_t i = 0; i < row.id_count; i++)
        EXPECT_EQ((int32_t)(tokens - row.id_count + i), row.ids[i]);
    EXPECT_DOUBLE_EQ(sum, row.log_prob_sum) << "of the sent ones, too";
    EXPECT_STREQ("stop", row.finish_reason);
    EXPECT_EQ(7u, row.input_tokens);
    EXPECT_EQ(tokens, row.output_tokens);
    kserve_row_reset(&row);
    EXPECT_EQ(nullptr, row.text);
    kserve_row_reset(&row);
}

TEST(KserveRow, APromptComesBeforeWhatIsSampled)
{
    struct kserve_row row = {};
    const uint32_t prompt[] = {3, 1, 4};
    ASSERT_TRUE(kserve_row_add_prompt(&row, prompt, 3));
    struct request_event *e = request_event_open(1);
    struct sampled token = {};
    token.token = 9;
    ASSERT_TRUE(request_event_add_token(e, &token));
    ASSERT_TRUE(kserve_row_add(&row, e));
    request_event_close(e);
    EXPECT_EQ((std::vector<int32_t>{3, 1, 4, 9}),
              std::vector<int32_t>(row.ids, row.ids + row.id_count));
    EXPECT_EQ(1u, row.log_prob_count);
    EXPECT_EQ(nullptr, row.finish_reason);
    kserve_row_reset(&row);
}

} // namespace
