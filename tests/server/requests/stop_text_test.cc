#include "server/requests/stop_text.h"

#include <gtest/gtest.h>
#include <string.h>

#include <random>
#include <string>
#include <vector>

namespace {

struct Stops {
    struct stop_list list = {};
    explicit Stops(const std::vector<std::string> &texts)
    {
        for (const auto &t : texts)
            EXPECT_EQ(STATUS_OK, stop_list_add(&list, t.data(), t.size(), nullptr));
    }
    ~Stops() { stop_list_reset(&list); }
};

struct Outcome {
    std::string shown;
    int stop = STOP_TEXT_NONE;
    bool operator==(const Outcome &o) const { return shown == o.shown && stop == o.stop; }
};

// The pieces one after the other, as a generation would push them.
Outcome feed(const struct stop_list *list, bool include, const std::vector<std::string> &pieces)
{
    struct stop_text s;
    Outcome got;
    stop_text_init(&s, list, include);
    for (const auto &piece : pieces) {
        std::vector<char> out(STOP_TEXT_BYTES_MAX + piece.size());
        size_t shown = 0;
        got.stop = stop_text_push(&s, piece.data(), piece.size(), out.data(), &shown);
        got.shown.append(out.data(), shown);
        if (got.stop != STOP_TEXT_NONE)
            return got;
    }
    char rest[STOP_TEXT_BYTES_MAX];
    got.shown.append(rest, stop_text_finish(&s, rest));
    return got;
}

// The definition, on the whole text.
Outcome truth(const std::vector<std::string> &stops, bool include, const std::string &text)
{
    for (size_t end = 1; end <= text.size(); end++) {
        int best = STOP_TEXT_NONE;
        for (size_t i = 0; i < stops.size(); i++)
            if (stops[i].size() <= end &&
                text.compare(end - stops[i].size(), stops[i].size(), stops[i]) == 0 &&
                (best < 0 || stops[i].size() > stops[best].size()))
                best = (int)i;
        if (best >= 0)
            return {text.substr(0, include ? end : end - stops[best].size()), best};
    }
    return {text, STOP_TEXT_NONE};
}

TEST(stop_text, holds_back_what_may_become_a_stop)
{
    Stops stops({"END"});
    struct stop_text s;
    char out[STOP_TEXT_BYTES_MAX + 16];
    size_t shown;
    stop_text_init(&s, &stops.list, false);
    EXPECT_EQ(STOP_TEXT_NONE, stop_text_push(&s, "abE", 3, out, &shown));
    EXPECT_EQ("ab", std::string(out, shown));
    EXPECT_EQ(STOP_TEXT_NONE, stop_text_push(&s, "N", 1, out, &shown));
    EXPECT_EQ(0u, shown);
    EXPECT_EQ(STOP_TEXT_NONE, stop_text_push(&s, "x", 1, out, &shown));
    EXPECT_EQ("ENx", std::string(out, shown));
    EXPECT_EQ(0, stop_text_push(&s, "yENDz", 5, out, &shown));
    EXPECT_EQ("y", std::string(out, shown));
}

TEST(stop_text, include_keeps_the_stop_and_drops_what_follows)
{
    Stops stops({"\n\n"});
    EXPECT_EQ((Outcome{"a\nb\n\n", 0}), feed(&stops.list, true, {"a\n", "b\n", "\nrest"}));
    EXPECT_EQ((Outcome{"a\nb", 0}), feed(&stops.list, false, {"a\n", "b\n", "\nrest"}));
}

TEST(stop_text, the_longest_of_those_that_end_together)
{
    Stops stops({"lo", "hello", "xx"});
    EXPECT_EQ((Outcome{"", 1}), feed(&stops.list, false, {"hel", "lo"}));
    EXPECT_EQ((Outcome{"yel", 0}), feed(&stops.list, false, {"yello"}));
}

TEST(stop_text, no_stops_show_everything_at_once)
{
    struct stop_list none = {};
    struct stop_text s;
    char out[STOP_TEXT_BYTES_MAX + 16];
    size_t shown;
    stop_text_init(&s, &none, false);
    EXPECT_EQ(STOP_TEXT_NONE, stop_text_push(&s, "abc", 3, out, &shown));
    EXPECT_EQ("abc", std::string(out, shown));
    EXPECT_EQ(0u, stop_text_finish(&s, out));
}

TEST(stop_text, any_cut_gives_the_same_as_the_whole)
{
    std::mt19937 rng(7);
    auto word = [&](size_t least, size_t most) {
        std::string w(least + rng() % (most - least + 1), 'a');
        for (char &c : w)
            c = (char)('a' + rng() % 2); // two letters: many near matches
        return w;
    };
    for (int round = 0; round < 3000; round++) {
        std::vector<std::string> texts;
        for (size_t n = 1 + rng() % 4; n > 0; n--)
            texts.push_back(word(2, 9));
        Stops stops(texts);
        std::string text = word(0, 40);
        std::vector<std::string> pieces;
        for (size_t at = 0; at < text.size();) {
            size_t n = rng() % 6;
            pieces.push_back(text.substr(at, n));
            at += n;
        }
        for (bool include : {false, true})
            ASSERT_EQ(truth(texts, include, text), feed(&stops.list, include, pieces))
                << text << " round " << round;
    }
}

TEST(stop_text, a_full_length_stop_fits)
{
    std::string longest(STOP_TEXT_BYTES_MAX, 'q');
    Stops stops({longest});
    EXPECT_EQ((Outcome{"a", 0}), feed(&stops.list, false, {"a" + longest.substr(1), "q"}));
    EXPECT_EQ((Outcome{longest.substr(1), STOP_TEXT_NONE}),
              feed(&stops.list, false, {longest.substr(1)}));
}

TEST(stop_list, refuses_what_is_out_of_bounds)
{
    struct stop_list list = {};
    struct error error = {};
    EXPECT_EQ(STATUS_INVALID, stop_list_add(&list, "", 0, &error));
    EXPECT_NE(nullptr, strstr(error.text, "stop[0] has 0 bytes"));
    std::string wide(STOP_TEXT_BYTES_MAX + 1, 'x');
    EXPECT_EQ(STATUS_INVALID, stop_list_add(&list, wide.data(), wide.size(), nullptr));
    for (int i = 0; i < STOP_TEXTS_MAX; i++)
        EXPECT_EQ(STATUS_OK, stop_list_add(&list, "x", 1, nullptr));
    EXPECT_EQ(STATUS_INVALID, stop_list_add(&list, "x", 1, nullptr));
    stop_list_reset(&list);
    EXPECT_EQ(0u, list.count);
}

} // namespace
