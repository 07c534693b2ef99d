/* Texts that grow. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(Writer, GrowsUpToTheLimit)
{
    struct run_limits limits = run_limits_default();
    limits.text_bytes = 300;
    TestRun run(limits);
    ASSERT_TRUE(run.tries([](struct run *r) {
        struct writer w;
        writer_init(&w, r);
        EXPECT_EQ("", str(writer_view(&w)));
        writer_string(&w, "ab");
        writer_repeat(&w, '-', 3);
        writer_repeat(&w, '-', 0);
        writer_point(&w, 0xE9);
        writer_point(&w, 0x1F600);
        writer_format(&w, "%d", 7);
        EXPECT_EQ("ab---\u00e9\U0001F6007", str(writer_view(&w)));
        writer_repeat(&w, 'x', 300 - w.size);
        EXPECT_EQ(300u, writer_view(&w).size);
    }));
    EXPECT_FALSE(run.tries([](struct run *r) {
        struct writer w;
        writer_init(&w, r);
        writer_repeat(&w, 'x', 301);
    }));
    EXPECT_EQ("test, line 1: a text of more than 300 bytes", run.error());
}

} // namespace
