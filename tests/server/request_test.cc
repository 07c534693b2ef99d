#include "server/request.h"

#include <gtest/gtest.h>

#include "server/request_event.h"

namespace {

TEST(request, opens_with_the_defaults_and_a_spare_event)
{
    struct request *r = request_open(42);
    ASSERT_NE(nullptr, r);
    EXPECT_EQ(42u, r->id);
    EXPECT_EQ(1.0f, r->asked.sampling.temperature);
    ASSERT_NE(nullptr, r->output.spare);
    EXPECT_EQ(42u, r->output.spare->request);
    request_close(r);
}

TEST(request, closes_what_it_owns)
{
    struct request *r = request_open(1);
    ASSERT_EQ(STATUS_OK, stop_list_add(&r->asked.stops, "x", 1, nullptr));
    r->asked.prompt = static_cast<uint32_t *>(malloc(4));
    r->output.event = request_event_open(1);
    request_close(r); /* the leak checker of the sanitizer build judges */
    request_close(nullptr);
}

} // namespace
