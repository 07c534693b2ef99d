/* Names and their scopes. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(Scope, TheInnermostBindingCounts)
{
    TestRun run;
    ASSERT_TRUE(run.tries([](struct run *r) {
        struct scope *outer = scope_new(r, NULL), *inner = scope_new(r, outer);
        for (uint32_t i = 0; i < 50; i++)
            scope_set(r, outer, i, value_integer(i));
        scope_set(r, inner, 7, value_integer(70));
        scope_set(r, inner, 7, value_integer(71));
        EXPECT_EQ(71, scope_get(inner, 7)->integer);
        EXPECT_EQ(7, scope_get(outer, 7)->integer);
        EXPECT_EQ(49, scope_get(inner, 49)->integer);
        EXPECT_EQ(nullptr, scope_get(inner, 50));
        EXPECT_EQ(1u, inner->count);
    }));
}

} // namespace
