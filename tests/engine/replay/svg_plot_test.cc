#include "engine/replay/svg_plot.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <string>

namespace {

std::string drawn(const struct svg_plot &plot)
{
    char *text = nullptr;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    svg_plot_write(&plot, out);
    fclose(out);
    std::string s(text, bytes);
    free(text);
    return s;
}

size_t count(const std::string &text, const std::string &what)
{
    size_t n = 0;
    for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size())
        n++;
    return n;
}

const double xs[] = {0, 50, 100}, ys[] = {0, 100, 250};

struct svg_plot two_lines(const struct svg_line *lines)
{
    struct svg_plot plot = {};
    plot.title = "a < b & \"c\"";
    plot.subtitle = "line\x01two";
    plot.x = {"size", 0, 100, 25, "%"};
    plot.y = {"rate", 0, 100, 50, ""};
    plot.lines = lines;
    plot.line_count = 2;
    return plot;
}

TEST(SvgPlot, PutsPointsWhereTheyBelong)
{
    const struct svg_line lines[] = {{"limit", xs, ys, 3, true}, {"ours", xs, ys, 2, false}};
    std::string s = drawn(two_lines(lines));
    // Plot area: x 64 to 612, y 384 to 64. 250 is drawn at the edge.
    EXPECT_NE(s.find("class=\"line bound\" d=\"M64.0 384.0 L338.0 64.0 L612.0 64.0\""),
              std::string::npos) << s;
    EXPECT_NE(s.find("class=\"line c0\" d=\"M64.0 384.0 L338.0 64.0\""), std::string::npos);
    EXPECT_EQ(count(s, "class=\"grid\""), 3u);
    EXPECT_EQ(count(s, "%</text>"), 5u);
    EXPECT_NE(s.find(">limit</text>"), std::string::npos);
    EXPECT_NE(s.find("prefers-color-scheme: dark"), std::string::npos);
    EXPECT_EQ(count(s, "<svg "), 1u);
    EXPECT_EQ(s.substr(s.size() - 7), "</svg>\n");
}

TEST(SvgPlot, EscapesTexts)
{
    const double bad[] = {NAN, INFINITY};
    const struct svg_line lines[] = {{"<script>", xs, bad, 2, false}, {"none", xs, ys, 0, false}};
    std::string s = drawn(two_lines(lines));
    EXPECT_EQ(s.find("<script>"), std::string::npos);
    EXPECT_NE(s.find("a &lt; b &amp; &quot;c&quot;"), std::string::npos);
    EXPECT_NE(s.find("line two"), std::string::npos);
    EXPECT_EQ(s.find("nan"), std::string::npos);
    EXPECT_EQ(s.find("inf"), std::string::npos);
}

} // namespace
