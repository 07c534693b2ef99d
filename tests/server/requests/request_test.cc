#include "server/requests/request.h"

#include <gtest/gtest.h>

#include "server/requests/request_event.h"

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
    r->asked.bias = static_cast<struct sampler_bias *>(calloc(2, sizeof *r->asked.bias));
    const char *text = "yes";
    size_t bytes = 3;
    ASSERT_EQ(STATUS_OK, grammar_open_choice(&r->asked.grammar, &text, &bytes, 1, nullptr));
    r->output.event = request_event_open(1);
    request_close(r); /* the leak checker of the sanitizer build judges */
    request_close(nullptr);
}

TEST(request, every_text_has_a_salt)
{
    EXPECT_EQ(0u, request_salt("", 0));
    EXPECT_EQ(request_salt("tenant", 6), request_salt("tenant 2", 6));
    EXPECT_NE(request_salt("tenant", 6), request_salt("tenant", 5));
    EXPECT_NE(request_salt("\0", 1), request_salt("\0\0", 2));
    /* Published value of FNV-1a, 64 bits, for "foobar". */
    EXPECT_EQ(0x85944171f73967e8u, request_salt("foobar", 6));
}

TEST(request, no_tokens_at_all_means_only_the_prompt)
{
    struct request *r = request_open(1);
    EXPECT_FALSE(request_only_prompt(r)) << "as many as fit";
    r->asked.has_max_tokens = true;
    EXPECT_TRUE(request_only_prompt(r));
    r->asked.max_tokens = 1;
    EXPECT_FALSE(request_only_prompt(r));
    request_close(r);
}

} // namespace
