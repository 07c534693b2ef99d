/* The machine of JSON strings against jansson: every string of a few pieces. */
#include "engine/grammar/json_string.h"

#include <gtest/gtest.h>
#include <jansson.h>

#include <cstring>
#include <string>

#include "tests/support/scratch.h"

namespace
{

bool is_taken(const std::string &text)
{
    enum json_string_state state = JSON_STRING_BETWEEN;
    for (size_t i = 0; i < text.size(); i++) {
        if (state == JSON_STRING_END || state == JSON_STRING_WRONG)
            return false;
        state = json_string_step(state, (uint8_t)text[i]);
    }
    return state == JSON_STRING_END;
}

TEST(JsonString, TakesWhatJanssonTakes)
{
    static const std::string pieces[] = {
        "a",        "\"",   "\\",   "\\\"",     "\\u",     "\\u00", "e9",   "\\ud83d",
        "\\uDE00",  "\xC3", "\xA9", "\xE0\xA0", "\x80",    "\xED",  "\x9F", "\xF0",
        "\x90\x80", "\xF4", "\x8F", "\xBF",     "\x01",    "\x7F",  "/",    "\\/n",
        "\xC0",     "\xFF", "u",    "\\uDBFf",  "\\udc0A", "1",     "\xF5", "\xEE\x80"};
    scratch::Random r(9);
    uint32_t taken = 0;
    for (int round = 0; round < 200000; round++) {
        std::string text;
        for (uint32_t n = r.below(6); n > 0; n--)
            text += pieces[r.below(32)];
        text += '"';
        std::string json = "\"" + text;
        json_t *value =
            json_loadb(json.data(), json.size(), JSON_DECODE_ANY | JSON_ALLOW_NUL, nullptr);
        ASSERT_EQ(value != nullptr, is_taken(text)) << json;
        taken += value != nullptr;
        json_decref(value);
    }
    EXPECT_GT(taken, 5000u);
}

TEST(JsonString, WritesWhatIsReadBack)
{
    for (uint32_t c = 1; c < 0x3000; c++) {
        uint8_t bytes[8] = {'"'};
        unsigned count = json_string_write(c, bytes + 1);
        bytes[count + 1] = '"';
        json_t *value = json_loadb((const char *)bytes, count + 2, JSON_DECODE_ANY, nullptr);
        ASSERT_TRUE(value) << c;
        char *again = json_dumps(value, JSON_ENCODE_ANY);
        EXPECT_EQ(json_string_is_escaped(c), again[1] == '\\') << c;
        free(again);
        json_decref(value);
    }
}

} // namespace
