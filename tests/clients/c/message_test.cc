#include "clients/c/message.h"

#include <gtest/gtest.h>
#include <moering/v1/moering.pb-c.h>

#include <vector>

namespace {

std::vector<uint8_t> packed(uint32_t preempted)
{
    Moering__V1__SetBudgetResponse m = MOERING__V1__SET_BUDGET_RESPONSE__INIT;
    m.preempted_requests = preempted;
    size_t size;
    uint8_t *bytes = message_pack(&m.base, &size);
    std::vector<uint8_t> out(bytes, bytes + size);
    free(bytes);
    return out;
}

struct Answer : message_answer {
    channel_result result = {};
    Answer() : message_answer() { type = &moering__v1__set_budget_response__descriptor; }
    bool take(const std::vector<uint8_t> &m) { return message_take(this, m.data(), m.size()); }
    /* The number in it; -1: there is none. */
    int64_t end()
    {
        ProtobufCMessage *m = message_answered(this, &result);
        int64_t n = m ? (int64_t)((Moering__V1__SetBudgetResponse *)m)->preempted_requests : -1;
        if (m)
            protobuf_c_message_free_unpacked(m, nullptr);
        return n;
    }
};

TEST(message, the_last_one_is_the_answer)
{
    Answer a;
    EXPECT_TRUE(a.take(packed(1)));
    EXPECT_TRUE(a.take(packed(7)));
    EXPECT_EQ(7, a.end());
    EXPECT_EQ(nullptr, a.message) << "it was handed over";
    Answer empty;
    EXPECT_TRUE(packed(0).empty());
    EXPECT_TRUE(empty.take(packed(0)));
    EXPECT_EQ(0, empty.end());
}

TEST(message, none_is_an_error)
{
    Answer a;
    EXPECT_EQ(-1, a.end());
    EXPECT_EQ(GRPC_INTERNAL, a.result.status);
    EXPECT_STREQ("the answer is missing", a.result.message);
}

TEST(message, a_failed_call_has_no_answer)
{
    Answer a;
    EXPECT_TRUE(a.take(packed(1)));
    channel_result_fail(&a.result, GRPC_UNAVAILABLE, "gone");
    EXPECT_EQ(-1, a.end());
    EXPECT_STREQ("gone", a.result.message);
}

TEST(message, what_cannot_be_read_is_told)
{
    Answer a;
    EXPECT_FALSE(a.take({0xff}));
    channel_result_fail(&a.result, GRPC_CANCELLED, "cancelled"); /* as the channel does then */
    EXPECT_EQ(-1, a.end());
    EXPECT_EQ(GRPC_INTERNAL, a.result.status);
    EXPECT_STREQ("the answer could not be read", a.result.message);
}

} // namespace
