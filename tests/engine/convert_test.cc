/* Files written by convert.c, opened again: the same numbers as their source, bit for bit, in every
 * form of source and of file. */
#include "engine/model/convert.h"

#include <gtest/gtest.h>

#include <fstream>

#include "engine/load/gguf_value.h"
#include "engine/model/convert_header.h"
#include "tests/engine/engine_harness.h"
#include "tests/support/golden.h"

namespace {

struct Source {
    std::string name, path;
};

/* A source of each kind: every architecture as a folder (rows of q and k are turned on the way for
 * two of them), and GGUF files, one of block formats. */
std::vector<Source> sources()
{
    std::vector<Source> out;
    for (const golden::Model &m : golden::models())
        out.push_back({m.name, m.path});
    const auto &gguf = golden::gguf_models();
    for (size_t i = 0; i < gguf.size(); i += 5)
        out.push_back({"gguf_" + gguf[i].name, gguf[i].path});
    return out;
}

class Convert : public testing::TestWithParam<size_t> {
protected:
    void SetUp() override { source_ = sources()[GetParam()]; }
    std::string to(const char *name) const { return dir_.path() + "/" + name; }
    enum status convert(const std::string &from, const std::string &file, enum dtype quantize,
                        bool by_expert)
    {
        struct checkpoint *checkpoint = nullptr;
        struct convert_config config = {};
        config.quantize = quantize;
        config.by_expert = by_expert;
        config.threads = 2;
        EXPECT_EQ(STATUS_OK, checkpoint_open(&checkpoint, from.c_str(), &error_)) << error_.text;
        enum status status =
            convert_write(checkpoint, file.c_str(), &config, &result_, &error_);
        checkpoint_close(checkpoint);
        return status;
    }
    static Answer answer(const std::string &model, enum dtype quantize = DTYPE_COUNT)
    {
        Engine e(model, [&](auto &c) { c.quantize = quantize; });
        return e.run(job_of(some_prompt(7, 11, engine_info(e.engine)->vocab), 6));
    }
    static void expect_same(const Answer &a, const Answer &b)
    {
        EXPECT_EQ(a.tokens, b.tokens);
        ASSERT_EQ(a.logits.size(), b.logits.size());
        EXPECT_EQ(0, memcmp(a.logits.data(), b.logits.data(), a.logits.size() * sizeof(float)));
    }

    Source source_;
    scratch::Folder dir_;
    struct error error_ = {};
    struct convert_result result_ = {};
};

TEST_P(Convert, EitherOrderOfExpertsIsTheSameModel)
{
    Answer before = answer(source_.path);
    for (bool by_expert : {false, true}) {
        std::string file = to(by_expert ? "pages.gguf" : "stacked.gguf");
        ASSERT_EQ(STATUS_OK, convert(source_.path, file, DTYPE_COUNT, by_expert)) << error_.text;
        EXPECT_EQ(0u, result_.encoded);
        expect_same(before, answer(file));
    }
    /* And once more, from a file of the one order to the other. */
    ASSERT_EQ(STATUS_OK, convert(to("pages.gguf"), to("again.gguf"), DTYPE_COUNT, false))
        << error_.text;
    expect_same(before, answer(to("again.gguf")));
}

TEST_P(Convert, EncodingOnTheWayIsEncodingWhileReading)
{
    std::string file = to("q8.gguf");
    enum status status = convert(source_.path, file, DTYPE_Q8_0, true);
    if (status == STATUS_INVALID) { /* nothing in it can be encoded; said in one sentence */
        EXPECT_NE(std::string(error_.text).find("Q8_0"), std::string::npos) << error_.text;
        return;
    }
    ASSERT_EQ(STATUS_OK, status) << error_.text;
    EXPECT_GT(result_.encoded, 0u);
    expect_same(answer(source_.path, DTYPE_Q8_0), answer(file));
}

TEST_P(Convert, ChecksumsFindAByteThatChanged)
{
    std::string file = to("pages.gguf");
    ASSERT_EQ(STATUS_OK, convert(source_.path, file, DTYPE_COUNT, true)) << error_.text;
    struct checkpoint *checkpoint = nullptr;
    uint64_t pages = 0;
    ASSERT_EQ(STATUS_OK, checkpoint_open(&checkpoint, file.c_str(), &error_)) << error_.text;
    EXPECT_EQ(STATUS_OK, convert_verify(checkpoint, &pages, &error_)) << error_.text;
    EXPECT_GT(pages, 0u);
    std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekg(-1, std::ios::end); /* padding may follow the last expert: look for its end */
    std::streamoff at = bytes.tellg();
    for (; at > 0; at--) {
        bytes.seekg(at);
        if (bytes.get() != 0)
            break;
    }
    bytes.seekp(at);
    bytes.put('\0');
    bytes.close();
    EXPECT_EQ(STATUS_INVALID, convert_verify(checkpoint, &pages, &error_));
    EXPECT_NE(std::string(error_.text).find("expert"), std::string::npos) << error_.text;
    checkpoint_close(checkpoint);
}

TEST_P(Convert, RefusesToWriteOverItsSource)
{
    std::string file = to("model.gguf");
    ASSERT_EQ(STATUS_OK, convert(source_.path, file, DTYPE_COUNT, false)) << error_.text;
    EXPECT_EQ(STATUS_INVALID, convert(file, file, DTYPE_COUNT, true));
    EXPECT_NE(std::string(error_.text).find("file of the model"), std::string::npos)
        << error_.text;
    struct checkpoint *checkpoint = nullptr;
    uint64_t pages;
    ASSERT_EQ(STATUS_OK, checkpoint_open(&checkpoint, file.c_str(), &error_)) << error_.text;
    EXPECT_EQ(STATUS_NOT_FOUND, convert_verify(checkpoint, &pages, &error_));
    checkpoint_close(checkpoint);
}

INSTANTIATE_TEST_SUITE_P(, Convert, testing::Range<size_t>(0, sources().size()),
                         [](const auto &p) {
                             std::string name = sources()[p.param].name;
                             for (char &c : name)
                                 c = isalnum((unsigned char)c) ? c : '_';
                             return name;
                         });

} // namespace

TEST(ConvertHeader, TurnsHalvesIntoNeighbours)
{
    const uint8_t from[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    uint8_t to[12];
    convert_interleave(to, from, 12, 6, 1);
    const uint8_t want[12] = {0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11};
    EXPECT_EQ(0, memcmp(want, to, sizeof to));
}
