#include "server/bench/bench_route.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "tests/support/scratch.h"

namespace {

using Ids = std::vector<uint32_t>;

/* Two layers of 8 experts, top 2; requests of 2, 0 and 1 tokens. */
const char header[] =
    R"({"format": "moering-trace", "version": 1, "model": "", "layers": 2, "experts": 8,)"
    R"( "top_k": 2, "tokens": 3, "dtype": "u8", "phase": "", "source": "", "requests": [)"
    R"({"tokens": 2, "label": ""}, {"tokens": 0, "label": ""}, {"tokens": 1, "label": ""}]})"
    "\n";
const uint8_t ids[] = {1, 2, 3, 4, /* request 0, token 0: layer 0, layer 1 */
                       5, 6, 7, 0, /* token 1 */
                       4, 4, 255, 2}; /* request 2: twice the same; one choice missing */

class BenchRoute : public testing::Test {
  protected:
    void SetUp() override
    {
        path = folder.path() + "/t.mtrace";
        std::ofstream(path, std::ios::binary)
            << header << std::string((const char *)ids, sizeof ids);
        struct error error = {};
        ASSERT_EQ(STATUS_OK, bench_route_open(&route, path.c_str(), &error)) << error.text;
        route.experts = 8;
        route.top_k = 2;
    }
    void TearDown() override { bench_route_close(&route); }
    Ids ask(uint32_t layer, uint32_t item, uint32_t position)
    {
        Ids chosen(route.top_k, 99);
        struct routing_script script = bench_route_script(&route);
        script.choices(script.self, layer, item, position, chosen.data());
        return chosen;
    }
    scratch::Folder folder;
    std::string path;
    struct bench_route route = {};
};

TEST_F(BenchRoute, sequences_follow_requests_and_layers_fold)
{
    EXPECT_EQ(Ids({1, 2}), ask(0, 0, 0));
    EXPECT_EQ(Ids({7, 0}), ask(1, 0, 1));
    EXPECT_EQ(Ids({1, 2}), ask(2, 0, 2)) << "layer 2 is layer 0, position 2 is token 0";
    EXPECT_EQ(Ids({4, 5}), ask(0, 1, 0)) << "the empty request is passed over; 5 fills up";
    EXPECT_EQ(Ids({2, 3}), ask(1, 1, 0));
    EXPECT_EQ(Ids({1, 2}), ask(0, 2, 0)) << "the third sequence is the first request again";
    bench_route_turn(&route, 1);
    EXPECT_EQ(Ids({4, 5}), ask(0, 0, 0));
    EXPECT_EQ(Ids({1, 2}), ask(0, 1, 0));
    bench_route_turn(&route, 3);
    EXPECT_EQ(Ids({1, 2}), ask(0, 0, 0));
}

TEST_F(BenchRoute, experts_fold_and_choices_stay_distinct)
{
    route.experts = 4;
    EXPECT_EQ(Ids({3, 0}), ask(1, 0, 0));
    EXPECT_EQ(Ids({3, 0}), ask(1, 0, 1));
    route.top_k = 4;
    EXPECT_EQ(Ids({1, 2, 3, 0}), ask(0, 0, 0)) << "two of the next token folded onto the first two";
    route.experts = 64;
    route.top_k = 3;
    EXPECT_EQ(Ids({1, 2, 5}), ask(0, 0, 0)) << "the next token fills up";
    EXPECT_EQ(Ids({4, 5, 6}), ask(0, 1, 0));
}

TEST_F(BenchRoute, a_trace_without_tokens_is_refused)
{
    std::string empty = folder.path() + "/e.mtrace";
    std::ofstream(empty) << R"({"format": "moering-trace", "version": 1, "model": "", "layers": 1,)"
                            R"( "experts": 2, "top_k": 1, "tokens": 0, "dtype": "u8", "phase": "",)"
                            R"( "source": "", "requests": []})" << "\n";
    struct bench_route other;
    struct error error = {};
    EXPECT_EQ(STATUS_INVALID, bench_route_open(&other, empty.c_str(), &error));
    EXPECT_NE(nullptr, strstr(error.text, "holds no token")) << error.text;
    EXPECT_EQ(STATUS_NOT_FOUND, bench_route_open(&other, "/nowhere", &error));
    bench_route_close(&other);
}

} // namespace
