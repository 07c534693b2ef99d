/* Statements as they run: scopes, loops, macros, caught blocks. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(Render, AgreesWithJinja)
{
    check_cases("render", 60);
}

TEST(Render, FailuresHaveTheirLine)
{
    EXPECT_EQ("test, line 3: 'x' is undefined", rendered("a\n\n{{ x.y }}").error);
    EXPECT_EQ("test, line 2: 2 values for 1 names",
              rendered("\n{% for (a,) in [[1, 2]] %}{% endfor %}").error);
}

TEST(Render, AMacroMayNotCallItselfForEver)
{
    Rendered r = rendered("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
    EXPECT_EQ("test, line 1: nested deeper than 800", r.error);
}

TEST(Render, StepsAreBounded)
{
    struct run_limits limits = run_limits_default();
    limits.fuel = 100000;
    Rendered r = rendered(
        "{% for a in range(1000) %}{% for b in range(1000) %}{{ a }}{% endfor %}{% endfor %}", "{}",
        &limits);
    EXPECT_EQ(STATUS_INVALID, r.status);
    EXPECT_EQ("test, line 1: the template takes more than 100000 steps", r.error);
}

TEST(Render, OutputIsBounded)
{
    struct run_limits limits = run_limits_default();
    limits.text_bytes = 1000;
    Rendered r = rendered("{% for a in range(101) %}0123456789{% endfor %}", "{}", &limits);
    EXPECT_EQ("test, line 1: a text of more than 1000 bytes", r.error);
    EXPECT_EQ(
        1000u,
        rendered("{% for a in range(100) %}0123456789{% endfor %}", "{}", &limits).output.size());
}

TEST(Render, MemoryIsBounded)
{
    struct run_limits limits = run_limits_default();
    limits.memory_bytes = 1 << 20;
    Rendered r = rendered("{% set ns = namespace(l=[1]) %}{% for a in range(40) %}"
                        "{% set ns.l = ns.l + ns.l %}{% endfor %}", "{}", &limits);
    EXPECT_EQ(STATUS_INVALID, r.status);
    EXPECT_EQ("test, line 1: the template uses more than 1048576 bytes of memory", r.error);
}

TEST(Render, AListInsideItselfIsNoEndlessText)
{
    Rendered r = rendered("{% set x = [] %}{% do x.append(x) %}{{ x }}");
    EXPECT_EQ("test, line 1: nested deeper than 800", r.error);
    EXPECT_EQ(STATUS_INVALID,
              rendered("{% set x = [] %}{% do x.append(x) %}{{ x|tojson }}").status);
    EXPECT_EQ(STATUS_INVALID, rendered("{% set x = [] %}{% set y = [] %}{% do x.append(y) %}"
                                     "{% do y.append(x) %}{{ x == y }}").status);
}

TEST(Render, DeepJsonIsRefused)
{
    std::string deep = "{\"v\":" + std::string(1500, '[') + std::string(1500, ']') + "}";
    EXPECT_EQ("test, line 1: nested deeper than 800", rendered("x", deep).error);
}

} // namespace
