/* What the tokenizer's tests share: files of the golden folder, tokenizers from text, lists. */
#ifndef MOERING_TESTS_ENGINE_TOKENIZER_FIXTURES_H
#define MOERING_TESTS_ENGINE_TOKENIZER_FIXTURES_H

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "engine/tokenizer/detokenize.h"
#include "engine/tokenizer/tokenizer.h"

namespace fixtures {

struct TokenizerCloser {
    void operator()(struct tokenizer *t) const { tokenizer_close(t); }
};
using Tokenizer = std::unique_ptr<struct tokenizer, TokenizerCloser>;

inline std::string source_dir()
{
    const char *dir = std::getenv("MOERING_SOURCE_DIR");
    return dir ? dir : ".";
}

inline std::string golden_path(const std::string &name)
{
    return source_dir() + "/tests/golden/tokenizer/" + name;
}

inline std::string read_file(const std::string &path)
{
    std::ifstream in(path, std::ios::binary);
    EXPECT_TRUE(in.good()) << path << " (set MOERING_SOURCE_DIR to the checkout)";
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

inline Tokenizer open_text(const std::string &json, const std::string &config = "")
{
    struct tokenizer *t = nullptr;
    struct error error = {};
    EXPECT_EQ(STATUS_OK, tokenizer_open_memory(&t, "tokenizer.json", json.data(), json.size(),
                                               config.empty() ? nullptr : config.data(),
                                               config.size(), &error))
        << error.text;
    EXPECT_TRUE(t);
    return Tokenizer(t);
}

inline Tokenizer open_golden(const std::string &name)
{
    return open_text(read_file(golden_path(name + ".json")));
}

inline std::vector<uint32_t> encode(const struct tokenizer *t, const std::string &text,
                                    bool add_special = false, bool parse_special = true)
{
    struct token_list list = {};
    struct error error = {};
    EXPECT_EQ(STATUS_OK, tokenizer_encode(t, text.data(), text.size(), add_special, parse_special,
                                          &list, &error))
        << error.text;
    std::vector<uint32_t> ids(list.ids, list.ids + list.count);
    token_list_reset(&list);
    return ids;
}

/* Every push must give whole characters; what they give together is returned. */
inline std::string decode(const struct tokenizer *t, const std::vector<uint32_t> &ids,
                          bool skip_special = false)
{
    struct detokenizer d;
    std::string all;
    detokenizer_init(&d, t, skip_special);
    std::vector<char> room(detokenizer_room(t));
    auto take = [&](size_t n) {
        ASSERT_LE(n, room.size());
        if (n > 0) {
            EXPECT_NE(0x80, (unsigned char)room[0] & 0xC0) << "a push began inside a character";
        }
        all.append(room.data(), n);
    };
    for (uint32_t id : ids)
        take(detokenizer_push(&d, id, room.data(), room.size()));
    take(detokenizer_finish(&d, room.data(), room.size()));
    return all;
}

/* A small byte-level tokenizer with room for one more member in each place; no merges but "ab". */
inline std::string byte_level_json(const std::string &normalizer = "null",
                                   const std::string &pre_tokenizer =
                                       R"({"type":"ByteLevel","add_prefix_space":false})",
                                   const std::string &added = "[]")
{
    std::string vocab;
    for (int c = 33; c < 127; c++) {
        std::string key(1, (char)c);
        if (c == '"' || c == '\\')
            key = "\\" + key;
        vocab += "\"" + key + "\":" + std::to_string(c - 33) + ",";
    }
    return R"({"added_tokens":)" + added + R"(,"normalizer":)" + normalizer +
           R"(,"pre_tokenizer":)" + pre_tokenizer +
           R"(,"decoder":{"type":"ByteLevel"},"model":{"type":"BPE","vocab":{)" + vocab +
           R"("Ġ":94,"Ċ":95,"ab":96},"merges":["a b"]}})";
}

} // namespace fixtures

#endif
