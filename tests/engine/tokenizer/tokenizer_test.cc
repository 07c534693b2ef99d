/* The whole of encoding and decoding against the reference's vectors, by properties, and from
 * several threads; opening a folder. */
#include "engine/tokenizer/tokenizer.h"

#include <dirent.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include <random>
#include <thread>

#include "fixtures.h"

using namespace fixtures;

namespace {

std::string string_of(json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    return value ? std::string(json_string_value(value), json_string_length(value)) : "";
}

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, EveryVectorIsReproduced)
{
    Tokenizer t = open_golden(GetParam());
    ASSERT_TRUE(t);
    std::istringstream lines(read_file(golden_path(GetParam() + ".jsonl")));
    std::string line;
    int count = 0;
    while (std::getline(lines, line)) {
        json_error_t problem;
        json_t *vector = json_loadb(line.data(), line.size(), JSON_ALLOW_NUL, &problem);
        ASSERT_TRUE(vector) << problem.text;
        std::vector<uint32_t> ids;
        size_t i;
        json_t *id;
        json_array_foreach(json_object_get(vector, "ids"), i, id)
            ids.push_back((uint32_t)json_integer_value(id));
        if (json_object_get(vector, "text")) {
            EXPECT_EQ(ids, encode(t.get(), string_of(vector, "text"),
                                  json_is_true(json_object_get(vector, "add_special")),
                                  json_is_true(json_object_get(vector, "parse_special"))))
                << line;
        }
        EXPECT_EQ(string_of(vector, "decoded"), decode(t.get(), ids, false)) << line;
        EXPECT_EQ(string_of(vector, "skipped"), decode(t.get(), ids, true)) << line;
        json_decref(vector);
        count++;
    }
    EXPECT_GT(count, 150);
}

INSTANTIATE_TEST_SUITE_P(
    Families, Golden,
    testing::Values("qwen2", "gpt2", "neox", "llama3", "cased", "mixtral", "metaspace_first",
                    "metaspace_always", "metaspace_never", "split_isolated",
                    "split_isolated_inverted", "split_removed", "split_removed_inverted",
                    "split_merged_with_previous", "split_merged_with_previous_inverted",
                    "split_merged_with_next", "split_merged_with_next_inverted", "split_contiguous",
                    "split_contiguous_inverted", "whitespace_nfd", "whitespace_split_nfkd"),
    [](const testing::TestParamInfo<std::string> &family) { return family.param; });

std::string random_text(std::mt19937 &random)
{
    static const uint32_t ranges[][2] = {{0, 0x7F},        {0x20, 0x7E},      {0x20, 0x20},
                                         {0x80, 0x7FF},    {0x300, 0x36F},    {0x3040, 0x9FFF},
                                         {0xAC00, 0xD7A3}, {0x1F300, 0x1FAFF}, {0x10000, 0x10FFFF}};
    std::string text;
    for (unsigned n = random() % 60; n > 0; n--) {
        const uint32_t *range = ranges[random() % 9];
        uint32_t c = range[0] + random() % (range[1] - range[0] + 1);
        for (unsigned repeat = random() % 8 ? 1 : random() % 20; repeat > 0; repeat--) {
            if (c < 0x80) {
                text += (char)c;
            } else if (c < 0x800) {
                text += (char)(0xC0 | c >> 6);
            } else if (c < 0x10000) {
                text += (char)(0xE0 | c >> 12);
                text += (char)(0x80 | (c >> 6 & 0x3F));
            } else {
                text += (char)(0xF0 | c >> 18);
                text += (char)(0x80 | (c >> 12 & 0x3F));
                text += (char)(0x80 | (c >> 6 & 0x3F));
            }
            if (c >= 0x80)
                text += (char)(0x80 | (c & 0x3F));
        }
    }
    return text;
}

TEST(Tokenizer, DecodingUndoesEncodingWhereNothingIsNormalised)
{
    std::mt19937 random(20);
    for (const char *family : {"gpt2", "llama3"}) {
        Tokenizer t = open_golden(family);
        for (int round = 0; round < 400; round++) {
            std::string text = random_text(random);
            EXPECT_EQ(text, decode(t.get(), encode(t.get(), text))) << family;
            EXPECT_EQ(text, decode(t.get(), encode(t.get(), text, true), true)) << family;
        }
    }
}

TEST(Tokenizer, SentencePieceDecodingUndoesEncoding)
{
    std::mt19937 random(21);
    Tokenizer t = open_golden("mixtral");
    for (int round = 0; round < 400; round++) {
        std::string text = random_text(random);
        EXPECT_EQ(text, decode(t.get(), encode(t.get(), text)));
    }
}

TEST(Tokenizer, EncodingAppendsAndFailureLeavesTheListAlone)
{
    Tokenizer t = open_golden("gpt2");
    struct token_list list = {};
    struct error error = {};
    ASSERT_EQ(STATUS_OK, tokenizer_encode(t.get(), "the", 3, false, true, &list, &error));
    uint32_t count = list.count;
    EXPECT_EQ(STATUS_INVALID,
              tokenizer_encode(t.get(), "good\xC3", 5, false, true, &list, &error));
    EXPECT_STREQ("the text is not UTF-8 at byte 4", error.text);
    EXPECT_EQ(count, list.count);
    ASSERT_EQ(STATUS_OK, tokenizer_encode(t.get(), "the", 3, false, true, &list, nullptr));
    EXPECT_EQ(2 * count, list.count);
    for (const char *bad : {"\xED\xA0\x80", "\xC0\x80", "\xF4\x90\x80\x80", "\xFF", "\x80"})
        EXPECT_EQ(STATUS_INVALID, tokenizer_encode(t.get(), bad, strlen(bad), false, true, &list,
                                                   nullptr));
    token_list_reset(&list);
    EXPECT_EQ(0u, list.count);
}

TEST(Tokenizer, FourThreadsShareOne)
{
    for (const char *family : {"qwen2", "mixtral", "split_contiguous"}) {
        Tokenizer t = open_golden(family);
        std::vector<std::string> texts;
        std::vector<std::vector<uint32_t>> expected;
        std::mt19937 random(22);
        for (int i = 0; i < 60; i++) {
            texts.push_back(random_text(random) + " The miller's cat, in 1984.");
            expected.push_back(encode(t.get(), texts.back()));
        }
        std::vector<int> wrong(4);
        std::vector<std::thread> threads;
        for (int n = 0; n < 4; n++)
            threads.emplace_back([&, n] {
                for (size_t i = 0; i < 4 * texts.size(); i++) {
                    size_t which = (i * 7 + (size_t)n * 13) % texts.size();
                    struct token_list list = {};
                    tokenizer_encode(t.get(), texts[which].data(), texts[which].size(), false, true,
                                     &list, nullptr);
                    wrong[n] += std::vector<uint32_t>(list.ids, list.ids + list.count) !=
                                expected[which];
                    token_list_reset(&list);
                }
            });
        for (std::thread &thread : threads)
            thread.join();
        EXPECT_EQ(std::vector<int>(4), wrong) << family;
    }
}

/* A quadratic merge or mark ordering would take hours here and meet the time limit of the test. The
 * thread sanitizer's own memmem looks at the whole rest of the text each time: less for it. */
#ifdef __SANITIZE_THREAD__
constexpr size_t kLong = 1 << 15;
#else
constexpr size_t kLong = 1 << 20;
#endif

TEST(Tokenizer, AMegabyteOfOneThingIsNotQuadratic)
{
    std::string marks;
    for (size_t i = 0; i < kLong / 4; i++)
        marks += i % 2 ? "\xCC\x81" : "\xCC\xA7";
    for (const char *family : {"qwen2", "mixtral"}) {
        Tokenizer t = open_golden(family);
        for (const std::string &text : {std::string(kLong, 'a'), std::string(kLong, ' '),
                                        std::string(kLong, '\n') + "x", "a" + marks}) {
            std::vector<uint32_t> ids = encode(t.get(), text);
            EXPECT_GT(ids.size(), 0u);
            if (text.size() == kLong) {
                EXPECT_EQ(text, decode(t.get(), ids));
            }
        }
    }
}

TEST(Tokenizer, AnswersAboutEntries)
{
    Tokenizer t = open_text(byte_level_json(
        "null", R"({"type":"ByteLevel"})", R"([{"id":200,"content":"<eos>","special":true}])"));
    size_t bytes;
    EXPECT_EQ(201u, tokenizer_vocab_size(t.get()));
    EXPECT_EQ(96u, tokenizer_token_id(t.get(), "ab"));
    EXPECT_EQ(TOKEN_NONE, tokenizer_token_id(t.get(), "abc"));
    EXPECT_STREQ("Ġ", tokenizer_entry(t.get(), 94));
    EXPECT_STREQ(" ", tokenizer_piece(t.get(), 94, &bytes));
    EXPECT_EQ(1u, bytes);
    EXPECT_EQ(nullptr, tokenizer_entry(t.get(), 150));
    tokenizer_piece(t.get(), 150, &bytes);
    EXPECT_EQ(0u, bytes);
    EXPECT_TRUE(tokenizer_is_special(t.get(), 200));
    EXPECT_FALSE(tokenizer_is_special(t.get(), 94));
    EXPECT_FALSE(tokenizer_is_special(t.get(), UINT32_MAX));
    EXPECT_EQ("", decode(t.get(), {150, 4000000000u}));
    EXPECT_EQ(TOKEN_NONE, tokenizer_bos(t.get()));
    EXPECT_EQ(TOKEN_NONE, tokenizer_eos(t.get()));
    EXPECT_EQ(nullptr, tokenizer_chat_template(t.get()));
}

class Folder : public testing::Test {
  protected:
    void SetUp() override
    {
        const char *base = std::getenv("TMPDIR");
        path = std::string(base ? base : "/tmp") + "/tokenizer_test_XXXXXX";
        ASSERT_NE(nullptr, mkdtemp(&path[0]));
    }
    void TearDown() override
    {
        for (const std::string &name : written)
            unlink((path + "/" + name).c_str());
        rmdir(path.c_str());
    }
    void write(const std::string &name, const std::string &data)
    {
        std::ofstream(path + "/" + name, std::ios::binary) << data;
        written.push_back(name);
    }
    enum status open(struct error *error)
    {
        struct tokenizer *t = nullptr;
        enum status status = tokenizer_open(&t, path.c_str(), error);
        opened.reset(t);
        return status;
    }
    std::string path;
    std::vector<std::string> written;
    Tokenizer opened;
};

TEST_F(Folder, WithoutTokenizerJsonIsNotFound)
{
    struct error error = {};
    EXPECT_EQ(STATUS_NOT_FOUND, open(&error));
    EXPECT_NE(nullptr, strstr(error.text, "/tokenizer.json: no such file"));
    EXPECT_FALSE(opened);
}

TEST_F(Folder, TakesTheFilesBesideIt)
{
    struct error error = {};
    write("tokenizer.json",
          byte_level_json("null", R"({"type":"ByteLevel","add_prefix_space":false})",
                          R"([{"id":97,"content":"<s>","special":true},
                              {"id":98,"content":"</s>","special":true}])"));
    write("tokenizer_config.json", R"({"eos_token":{"content":"</s>","lstrip":false},
                                       "chat_template":"old"})");
    ASSERT_EQ(STATUS_OK, open(&error)) << error.text;
    EXPECT_EQ(TOKEN_NONE, tokenizer_bos(opened.get()));
    EXPECT_EQ(98u, tokenizer_eos(opened.get()));
    EXPECT_STREQ("old", tokenizer_chat_template(opened.get()));

    write("special_tokens_map.json", R"({"bos_token":"<s>","eos_token":"ab"})");
    write("chat_template.jinja", "new");
    ASSERT_EQ(STATUS_OK, open(&error)) << error.text;
    EXPECT_EQ(97u, tokenizer_bos(opened.get()));
    EXPECT_EQ(98u, tokenizer_eos(opened.get())); /* the configuration's stands */
    EXPECT_STREQ("new", tokenizer_chat_template(opened.get()));

    write("chat_template.jinja", "\xFF");
    EXPECT_EQ(STATUS_INVALID, open(&error));
    EXPECT_NE(nullptr, strstr(error.text, "chat_template.jinja: not UTF-8 text"));
}

TEST_F(Folder, ADirectoryInPlaceOfAFileIsInvalid)
{
    struct error error = {};
    ASSERT_EQ(0, mkdir((path + "/tokenizer.json").c_str(), 0700));
    EXPECT_EQ(STATUS_INVALID, open(&error));
    EXPECT_NE(nullptr, strstr(error.text, "tokenizer.json"));
    rmdir((path + "/tokenizer.json").c_str());
}

} // namespace
