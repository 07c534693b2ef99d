#include "clients/bench/record.h"

#include <gtest/gtest.h>

#include <string>

namespace {

struct Record : record {
    explicit Record(bool keep = true) { record_init(this, 1000000, 10, keep); }
    ~Record() { record_close(this); }
};

TEST(record, latencies_by_their_definitions)
{
    Record r;
    record_sent(&r, 2000000);
    record_chunk(&r, 3000000); /* a role: no content */
    record_content(&r, 12000000, "a", 1);
    record_content(&r, 15000000, "", 0); /* a token without text yet */
    record_content(&r, 22000000, "bc", 2);
    record_chunk(&r, 23000000); /* the finish reason */
    record_usage(&r, 100, 5);
    record_completed(&r);
    EXPECT_EQ(RECORD_COMPLETED, r.state);
    EXPECT_DOUBLE_EQ(0.001, record_queue_s(&r));
    EXPECT_DOUBLE_EQ(0.010, record_ttft_s(&r));
    EXPECT_DOUBLE_EQ(0.021, record_e2el_s(&r));
    EXPECT_DOUBLE_EQ(0.011 / 4, record_tpot_s(&r));
    EXPECT_EQ(3u, r.content_count);
    EXPECT_EQ(100u, r.input_tokens);
    EXPECT_STREQ("abc", r.text);
}

TEST(record, without_usage_a_chunk_is_a_token)
{
    Record r(false);
    record_sent(&r, 0);
    for (int i = 1; i <= 100; i++)
        record_content(&r, (uint64_t)i, "x", 1);
    record_completed(&r);
    EXPECT_FALSE(r.counted);
    EXPECT_EQ(100u, r.output_tokens);
    EXPECT_EQ(10u, r.input_tokens);
    EXPECT_EQ(nullptr, r.text);
    EXPECT_EQ(100u, r.content_ns[99]);
}

TEST(record, an_answer_without_content_has_its_end_for_a_first_token)
{
    Record r;
    record_sent(&r, 1000);
    record_chunk(&r, 5000);
    record_usage(&r, 3, 1);
    record_completed(&r);
    EXPECT_DOUBLE_EQ(4e-6, record_ttft_s(&r));
    EXPECT_DOUBLE_EQ(4e-6, record_e2el_s(&r));
    EXPECT_DOUBLE_EQ(0, record_tpot_s(&r));
}

TEST(record, the_first_end_stands)
{
    Record r;
    record_sent(&r, 0);
    record_failed(&r, "first %d", 1);
    record_failed(&r, "second");
    record_content(&r, 5, "x", 1);
    record_completed(&r);
    EXPECT_EQ(RECORD_FAILED, r.state);
    EXPECT_STREQ("first 1", r.error);
    EXPECT_EQ(0u, r.content_count);
    Record good;
    record_sent(&good, 0);
    record_completed(&good);
    record_failed(&good, "late");
    EXPECT_EQ(RECORD_COMPLETED, good.state);
    EXPECT_EQ(nullptr, good.error);
}

} // namespace
