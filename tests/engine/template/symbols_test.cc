/* Numbers of names. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(Symbols, EveryNameHasOneNumber)
{
    TestRun run;
    static char names[1000][8];
    ASSERT_TRUE(run.tries([](struct run *r) {
        struct symbols symbols = {};
        for (uint32_t i = 0; i < 1000; i++) {
            snprintf(names[i], sizeof names[i], "n%u", i);
            EXPECT_EQ(i, symbols_number(r, &symbols, words(names[i])));
        }
        for (uint32_t i = 0; i < 1000; i++) {
            EXPECT_EQ(i, symbols_number(r, &symbols, words(names[i])));
            EXPECT_EQ(names[i], str(symbols.names[i]));
        }
        EXPECT_EQ(1000u, symbols.count);
    }));
}

} // namespace
