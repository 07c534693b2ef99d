/* The stable sort. */
#include "engine/template/sort.h"

#include "template_fixture.h"

using namespace templates;

namespace {

int tens(struct run *, const struct value *a, const struct value *b, void *)
{
    int64_t x = a->integer / 10, y = b->integer / 10;
    return (x > y) - (x < y);
}

TEST(Sort, EqualKeysKeepTheirOrderBothWays)
{
    TestRun run;
    ASSERT_TRUE(run.tries([](struct run *r) {
        struct value keys[257];
        uint32_t order[257];
        for (size_t count = 0; count <= 257; count++) {
            for (size_t i = 0; i < count; i++)
                keys[i] = value_integer((int64_t)(i * 7919 % 101));
            for (int reverse = 0; reverse < 2; reverse++) {
                sort_order(r, keys, count, reverse, tens, NULL, order);
                for (size_t i = 1; i < count; i++) {
                    int64_t a = keys[order[i - 1]].integer / 10, b = keys[order[i]].integer / 10;
                    EXPECT_TRUE(reverse ? a >= b : a <= b);
                    EXPECT_TRUE(a != b || order[i - 1] < order[i]);
                }
            }
        }
    }));
}

} // namespace
