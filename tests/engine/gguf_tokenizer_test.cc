/* From a GGUF file's keys to a tokenizer: what is handed on, and what is refused by the key's name.
 * What the pieces then mean is engine/tokenizer's business. */
#include "engine/model/gguf_tokenizer.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "engine/load/gguf_writer.h"
#include "tests/support/scratch.h"

namespace {

/* A SentencePiece tokenizer of a few pieces, with any one thing changed. */
struct Keys {
    std::string model = "llama";
    std::vector<std::string> tokens;
    std::vector<float> scores;
    std::vector<int32_t> types;
    std::function<void(struct gguf_writer *)> more = [](struct gguf_writer *) {};

    Keys()
    {
        add("<unk>", 2), add("<s>", 3), add("</s>", 3);
        for (int b = 0; b < 256; b++) {
            char name[8];
            snprintf(name, sizeof name, "<0x%02X>", b);
            add(name, 6);
        }
        for (const char *piece : {"\xe2\x96\x81", "h", "i", "hi", "\xe2\x96\x81hi"})
            add(piece, 1);
    }
    void add(const std::string &token, int32_t type)
    {
        tokens.push_back(token);
        types.push_back(type);
        scores.push_back(-(float)tokens.size());
    }
};

class GgufTokenizer : public testing::Test {
protected:
    ~GgufTokenizer() override { tokenizer_close(tokenizer_); }
    enum status open(const Keys &keys)
    {
        std::string path = folder_.path("m.gguf");
        struct gguf_writer *w = nullptr;
        EXPECT_EQ(gguf_writer_open(&w, path.c_str(), 0, &error_), STATUS_OK) << error_.text;
        if (!keys.model.empty())
            gguf_writer_string(w, "tokenizer.ggml.model", keys.model.c_str());
        std::vector<struct gguf_string> tokens;
        for (const std::string &token : keys.tokens)
            tokens.push_back({token.data(), token.size()});
        if (!tokens.empty())
            gguf_writer_strings(w, "tokenizer.ggml.tokens", tokens.data(), tokens.size());
        gguf_writer_f32_array(w, "tokenizer.ggml.scores", keys.scores.data(), keys.scores.size());
        gguf_writer_i32_array(w, "tokenizer.ggml.token_type", keys.types.data(), keys.types.size());
        keys.more(w);
        EXPECT_EQ(gguf_writer_begin(w, &error_), STATUS_OK) << error_.text;
        EXPECT_EQ(gguf_writer_finish(w, &error_), STATUS_OK) << error_.text;
        gguf_writer_close(w);
        return read(path);
    }
    enum status read(const std::string &path)
    {
        struct model_file file = MODEL_FILE_CLOSED;
        struct gguf *gguf = nullptr;
        error_ = {};
        tokenizer_close(tokenizer_);
        tokenizer_ = nullptr;
        EXPECT_EQ(model_file_open(&file, path.c_str(), &error_), STATUS_OK) << error_.text;
        EXPECT_EQ(gguf_read(&gguf, path.c_str(), &file, &error_), STATUS_OK) << error_.text;
        enum status status = gguf_tokenizer_open(&tokenizer_, gguf, &error_);
        gguf_close(gguf); /* the tokenizer keeps nothing of it */
        model_file_close(&file);
        return status;
    }
    std::vector<uint32_t> encode(const std::string &text)
    {
        struct token_list list = {};
        EXPECT_EQ(
            tokenizer_encode(tokenizer_, text.data(), text.size(), true, false, &list, &error_),
            STATUS_OK)
            << error_.text;
        std::vector<uint32_t> ids(list.ids, list.ids + list.count);
        token_list_reset(&list);
        return ids;
    }
    bool says(const std::string &part) const
    {
        return std::string(error_.text).find(part) != std::string::npos &&
               std::string(error_.text).find("m.gguf") != std::string::npos;
    }
    scratch::Folder folder_;
    struct tokenizer *tokenizer_ = nullptr;
    struct error error_ = {};
};

TEST_F(GgufTokenizer, HandsOnWhatTheFileSays)
{
    Keys keys;
    ASSERT_EQ(open(keys), STATUS_OK) << error_.text;
    EXPECT_EQ(encode("hi"), (std::vector<uint32_t>{1, 259 + 4})); /* bos is llama's own default */
    EXPECT_EQ(tokenizer_chat_template(tokenizer_), nullptr);
    keys.more = [](struct gguf_writer *w) {
        gguf_writer_bool(w, "tokenizer.ggml.add_bos_token", false);
        gguf_writer_bool(w, "tokenizer.ggml.add_eos_token", true);
        gguf_writer_bool(w, "tokenizer.ggml.add_space_prefix", false);
        gguf_writer_u32(w, "tokenizer.ggml.bos_token_id", 2);
        gguf_writer_u32(w, "tokenizer.ggml.eos_token_id", 1);
        gguf_writer_string(w, "tokenizer.chat_template", "{{ x }}");
    };
    ASSERT_EQ(open(keys), STATUS_OK) << error_.text;
    EXPECT_EQ(encode("hi"), (std::vector<uint32_t>{259 + 3, 1}));
    EXPECT_EQ(tokenizer_bos(tokenizer_), 2u);
    EXPECT_EQ(tokenizer_eos(tokenizer_), 1u);
    EXPECT_STREQ(tokenizer_chat_template(tokenizer_), "{{ x }}");
}

TEST_F(GgufTokenizer, AFileWithoutOneIsNoError)
{
    Keys keys;
    keys.model = "";
    EXPECT_EQ(open(keys), STATUS_NOT_FOUND);
    EXPECT_TRUE(says("no tokenizer")) << error_.text;
    EXPECT_EQ(tokenizer_, nullptr);
}

TEST_F(GgufTokenizer, RefusesByTheKey)
{
    Keys unknown, fewer_scores, fewer_types, no_tokens, wrong_type, wrong_switch;
    unknown.model = "t5";
    EXPECT_EQ(open(unknown), STATUS_UNSUPPORTED);
    EXPECT_TRUE(says("t5")) << error_.text;
    fewer_scores.scores.pop_back();
    EXPECT_EQ(open(fewer_scores), STATUS_INVALID);
    EXPECT_TRUE(says("tokenizer.ggml.scores has 263")) << error_.text;
    fewer_types.types.pop_back();
    EXPECT_EQ(open(fewer_types), STATUS_INVALID);
    EXPECT_TRUE(says("tokenizer.ggml.token_type has 263")) << error_.text;
    no_tokens.tokens.clear();
    EXPECT_EQ(open(no_tokens), STATUS_INVALID);
    EXPECT_TRUE(says("tokenizer.ggml.tokens")) << error_.text;
    wrong_type.more = [](struct gguf_writer *w) {
        gguf_writer_string(w, "tokenizer.ggml.eos_token_id", "two");
    };
    EXPECT_EQ(open(wrong_type), STATUS_INVALID);
    EXPECT_TRUE(says("tokenizer.ggml.eos_token_id")) << error_.text;
    wrong_switch.more = [](struct gguf_writer *w) {
        gguf_writer_u32(w, "tokenizer.ggml.add_bos_token", 1);
    };
    EXPECT_EQ(open(wrong_switch), STATUS_INVALID);
    EXPECT_TRUE(says("tokenizer.ggml.add_bos_token")) << error_.text;
}

} // namespace
