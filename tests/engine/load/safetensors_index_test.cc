/* The index alone: distinct shards in order, entries that point at them; checkpoint_test holds the
 * table of bad ones as a user meets them. */
#include "engine/load/safetensors_index.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>

namespace {

enum status parse(struct safetensors_index **out, const std::string &text, struct error *error)
{
    return safetensors_index_parse(out, "index.json", text.data(), text.size(), error);
}

TEST(SafetensorsIndex, ListsDistinctShardsInOrder)
{
    struct safetensors_index *index;
    struct error error = {};
    ASSERT_EQ(parse(&index,
                    R"({"metadata": {"total_size": 1}, "weight_map":
                        {"a": "s2", "b": "s1", "c": "s2", "d": "..s", "e": "s1"}})",
                    &error),
              STATUS_OK)
        << error.text;
    ASSERT_EQ(index->shard_count, 3u);
    EXPECT_STREQ(index->shards[0], "..s");
    EXPECT_STREQ(index->shards[1], "s1");
    EXPECT_STREQ(index->shards[2], "s2");
    const std::map<std::string, uint32_t> expected = {
        {"a", 2}, {"b", 1}, {"c", 2}, {"d", 0}, {"e", 1}};
    std::map<std::string, uint32_t> found;
    for (uint32_t i = 0; i < index->count; i++)
        found[index->entries[i].tensor] = index->entries[i].shard;
    EXPECT_EQ(found, expected);
    safetensors_index_close(index);
    safetensors_index_close(nullptr);
}

TEST(SafetensorsIndex, ShardNamesStayInsideTheFolder)
{
    for (const char *shard : {"", ".", "..", "../s", "/s", "a/b", "s/", "a\\\\b", "a\\u0000",
                              "a\\u001f", "a\\u007f"}) {
        struct safetensors_index *index;
        struct error error = {};
        EXPECT_EQ(parse(&index,
                        std::string("{\"weight_map\": {\"w\": \"s\", \"x\": \"") + shard + "\"}}",
                        &error),
                  STATUS_INVALID)
            << shard;
        EXPECT_EQ(index, nullptr);
        EXPECT_NE(std::string(error.text).find("index.json: \"weight_map\": \"x\""),
                  std::string::npos)
            << error.text;
    }
}

TEST(SafetensorsIndex, TheNumberOfShardsIsBounded)
{
    for (uint32_t shards : {SAFETENSORS_SHARDS_MAX, SAFETENSORS_SHARDS_MAX + 1}) {
        std::string map;
        for (uint32_t i = 0; i < shards; i++)
            map += (i ? ",\"" : "\"") + std::to_string(i) + "\":\"s" + std::to_string(i) + "\"";
        struct safetensors_index *index;
        struct error error = {};
        EXPECT_EQ(parse(&index, "{\"weight_map\":{" + map + "}}", &error),
                  shards > SAFETENSORS_SHARDS_MAX ? STATUS_INVALID : STATUS_OK);
        safetensors_index_close(index);
    }
}

TEST(SafetensorsIndex, ReadNamesTheFile)
{
    struct safetensors_index *index;
    struct error error = {};
    EXPECT_EQ(safetensors_index_read(&index, "/nowhere/index.json", &error), STATUS_NOT_FOUND);
    EXPECT_NE(strstr(error.text, "/nowhere/index.json"), nullptr) << error.text;
    EXPECT_EQ(index, nullptr);
}

} // namespace
