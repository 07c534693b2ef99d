#include "engine/replay/load_log.h"

#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/scratch.h"

namespace {

using std::string;

string line(int tick, const string &phase, int layer, int a, int b)
{
    return "{\"tick\":" + std::to_string(tick) + ",\"phase\":\"" + phase + "\",\"layer\":" +
           std::to_string(layer) + ",\"tokens\":" + std::to_string(a + b) + ",\"counts\":[" +
           std::to_string(a) + "," + std::to_string(b) + "]}\n";
}

class LoadLog : public testing::Test {
protected:
    void TearDown() override { load_log_close(log); }
    enum status parse(const string &text)
    {
        load_log_close(log);
        error = {};
        return load_log_parse(&log, "a.jsonl", text.data(), text.size(), &error);
    }
    string refusal(const string &text)
    {
        EXPECT_EQ(parse(text), STATUS_INVALID) << error.text;
        EXPECT_EQ(log, nullptr);
        return error.text;
    }
    struct load_log *log = nullptr;
    struct error error = {};
};

TEST_F(LoadLog, LaysOutLinesOfAnyOrder)
{
    string text = line(7, "train", 1, 3, 4) + "\n" + line(2, "decode", 0, 1, 0) +
                  line(7, "train", 0, 1, 2) + line(3, "train", 1, 0, 9) + "  \r\n" +
                  line(2, "decode", 1, 5, 5) + line(3, "train", 0, 8, 0);
    ASSERT_EQ(parse(text), STATUS_OK) << error.text;
    EXPECT_EQ(log->layers, 2u);
    EXPECT_EQ(log->experts, 2u);
    ASSERT_EQ(log->phase_count, 2u);
    const struct load_log_phase *train = load_log_find(log, "train");
    ASSERT_NE(train, nullptr);
    EXPECT_EQ(load_log_find(log, nullptr), train) << "the longest";
    EXPECT_EQ(load_log_find(log, "prefill"), nullptr);
    EXPECT_EQ(load_log_find(log, "decode")->ticks, 1u);
    ASSERT_EQ(train->ticks, 2u);
    EXPECT_EQ(train->tick[0], 3u);
    EXPECT_EQ(train->tick[1], 7u);
    const uint32_t counts[] = {8, 0, 0, 9, 1, 2, 3, 4}, tokens[] = {8, 9, 3, 7};
    EXPECT_EQ(std::memcmp(train->counts, counts, sizeof counts), 0);
    EXPECT_EQ(std::memcmp(train->tokens, tokens, sizeof tokens), 0);
    float share[8];
    load_log_shares(log, train, share);
    EXPECT_EQ(share[0], 1);
    EXPECT_FLOAT_EQ(share[4], 1 / 3.0f);
    EXPECT_FLOAT_EQ(share[7], 4 / 7.0f);
}

TEST_F(LoadLog, TakesTheLastLineWithoutAnEndAndFieldsItDoesNotKnow)
{
    EXPECT_EQ(parse("{\"tick\":0,\"phase\":\"p\",\"layer\":0,\"tokens\":3,\"counts\":[1,2],"
                    "\"model\":{\"x\":[null]}}"), STATUS_OK) << error.text;
}

TEST_F(LoadLog, RefusesALineByItsNumberAndField)
{
    const string good = line(0, "p", 0, 1, 2);
    EXPECT_EQ(refusal(""), "a.jsonl: no line of loads in it");
    EXPECT_EQ(refusal("\n \n"), "a.jsonl: no line of loads in it");
    EXPECT_NE(refusal(good + "{\"tick\":").find("a.jsonl: line 2: malformed JSON: "),
              string::npos);
    EXPECT_EQ(refusal(good + "[1]\n"), "a.jsonl: line 2: it is not an object");
    struct {
        const char *text, *why;
    } cases[] = {
        {R"({"phase":"p","layer":0,"tokens":1,"counts":[1]})", "tick is missing"},
        {R"({"tick":1.0,"phase":"p","layer":0,"tokens":1,"counts":[1]})", "tick is not an integer"},
        {R"({"tick":-1,"phase":"p","layer":0,"tokens":1,"counts":[1]})",
         "tick is -1; it must be from 0 to 9223372036854775807"},
        {R"({"tick":0,"layer":0,"tokens":1,"counts":[1]})", "phase is missing"},
        {R"({"tick":0,"phase":3,"layer":0,"tokens":1,"counts":[1]})", "phase is not a string"},
        {R"({"tick":0,"phase":"","layer":0,"tokens":1,"counts":[1]})",
         "phase must be 1 to 31 letters, digits, '-' or '_'"},
        {R"({"tick":0,"phase":"a\u0000b","layer":0,"tokens":1,"counts":[1]})",
         "phase must be 1 to 31 letters, digits, '-' or '_'"},
        {R"({"tick":0,"phase":"p","layer":1024,"tokens":1,"counts":[1]})",
         "layer is 1024; it must be from 0 to 1023"},
        {R"({"tick":0,"phase":"p","layer":0,"tokens":0,"counts":[0]})",
         "tokens is 0; it must be from 1 to 4294967295"},
        {R"({"tick":0,"phase":"p","layer":0,"tokens":1})", "counts is missing"},
        {R"({"tick":0,"phase":"p","layer":0,"tokens":1,"counts":{}})", "counts is not a list"},
        {R"({"tick":0,"phase":"p","layer":0,"tokens":1,"counts":[]})",
         "counts has 0 numbers; a model has 1 to 4096 experts"},
        {R"({"tick":0,"phase":"p","layer":0,"tokens":1,"counts":[2,-1]})",
         "counts[1] is not an integer from 0 to 4294967295"},
        {R"({"tick":0,"phase":"p","layer":0,"tokens":1,"counts":[1,4294967296]})",
         "counts[1] is not an integer from 0 to 4294967295"},
        {R"({"tick":0,"phase":"p","layer":0,"tokens":4,"counts":[1,2]})",
         "tokens is 4; the counts sum to 3"},
    };
    for (auto &c : cases)
        EXPECT_EQ(refusal(string(c.text) + "\n"), string("a.jsonl: line 1: ") + c.why);
    EXPECT_EQ(refusal(good + R"({"tick":0,"phase":"p","layer":1,"tokens":1,"counts":[1]})"),
              "a.jsonl: line 2: counts has 1 numbers; the lines before have 2");
}

TEST_F(LoadLog, RefusesGapsAndRepetitions)
{
    const string a = line(0, "p", 0, 1, 2), b = line(0, "p", 1, 1, 2), c = line(1, "p", 0, 1, 2),
                 d = line(1, "p", 1, 1, 2);
    EXPECT_EQ(parse(a + b + c + d), STATUS_OK);
    EXPECT_EQ(refusal(a + b + a),
              "a.jsonl: line 3: tick 0 of phase p, layer 0 is in line 1 already");
    EXPECT_EQ(refusal(a + c + d), "a.jsonl: layer: tick 0 of phase p (line 1) has no line for "
                                  "layer 1 of 2");
    EXPECT_EQ(refusal(a + b + d), "a.jsonl: layer: tick 1 of phase p (line 3) has no line for "
                                  "layer 0 of 2");
    EXPECT_EQ(refusal(a + b + c), "a.jsonl: layer: tick 1 of phase p (line 3) has no line for "
                                  "layer 1 of 2");
    EXPECT_EQ(refusal(a + b + line(0, "q", 0, 1, 2)),
              "a.jsonl: layer: tick 0 of phase q (line 3) has no line for layer 1 of 2");
    EXPECT_EQ(refusal(line(4, "p", 1000, 1, 2)),
              "a.jsonl: layer: tick 4 of phase p (line 1) has no line for layer 0 of 1001");
}

TEST_F(LoadLog, RefusesANinthPhase)
{
    string text;
    for (char name = 'a'; name < 'i'; name++)
        text += line(0, string(1, name), 0, 1, 1);
    EXPECT_EQ(parse(text), STATUS_OK);
    EXPECT_EQ(refusal(text + line(0, "i", 0, 1, 1)),
              "a.jsonl: line 9: phase is the ninth name; a log has at most 8");
}

TEST_F(LoadLog, ReadsFiles)
{
    scratch::Folder folder;
    string path = folder.write("loads.jsonl", line(0, "p", 0, 1, 2));
    ASSERT_EQ(load_log_read(&log, path.c_str(), &error), STATUS_OK) << error.text;
    EXPECT_EQ(log->phases[0].counts[1], 2u);
    load_log_close(log);
    string absent = folder.path("absent.jsonl");
    EXPECT_EQ(load_log_read(&log, absent.c_str(), &error), STATUS_NOT_FOUND);
    EXPECT_EQ(string(error.text), absent + ": No such file or directory");
    error = {};
    EXPECT_EQ(load_log_read(&log, folder.path().c_str(), &error), STATUS_INVALID);
    EXPECT_EQ(string(error.text), folder.path() + ": not a regular file");
}

} // namespace
