#include "clients/bench/progress.h"

#include <gtest/gtest.h>

#include <string>

namespace {

std::string text(const progress &p, size_t columns = 200)
{
    char out[256];
    progress_text(&p, columns, out, sizeof out);
    return out;
}

TEST(progress, what_it_says)
{
    EXPECT_EQ("[                        ] 0/10  3 under way  0 chunks/s  0:00, left ?",
              text({10, 0, 0, 3, 0, 0}));
    EXPECT_EQ(
        "[############            ] 5/10  2 failed  5 under way  50 chunks/s  1:05, left 1:05",
        text({10, 3, 2, 5, 3250, 65}));
    EXPECT_EQ("[########################] 1/1  0 under way  0 chunks/s  2:00:01, left 0:00",
              text({1, 1, 0, 0, 0, 7201}));
}

TEST(progress, it_keeps_to_the_width)
{
    const progress p = {10, 3, 2, 5, 3250, 65};
    const std::string all = text(p);
    EXPECT_EQ(all, text(p, all.size()));
    EXPECT_EQ("5/10  2 failed  5 under way  50 chunks/s  1:05, left 1:05", text(p, all.size() - 1));
    EXPECT_EQ("5/10  2 failed  5 under way  50 chunks/s", text(p, 56));
    EXPECT_EQ("5/10  2 failed", text(p, 20));
    EXPECT_EQ("", text(p, 3)) << "no part of a number";
}

TEST(progress, drawing_goes_over_the_line_before)
{
    char *out = nullptr;
    size_t bytes = 0;
    FILE *f = open_memstream(&out, &bytes);
    progress p = {1, 1, 0, 0, 0, 1};
    progress_draw(&p, f);
    progress_clear(f);
    fclose(f);
    std::string drawn(out, bytes);
    free(out);
    EXPECT_EQ(0u, drawn.find("\r["));
    EXPECT_EQ("\r\033[K", drawn.substr(drawn.size() - 4));
}

} // namespace
