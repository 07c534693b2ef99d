/* The table of JSON_STRING_* written as one switch; the ranges of UTF-8 are those of the Unicode
 * standard's table 3-7. */
#include "engine/grammar/json_string.h"

#include <string.h>

#include "engine/grammar/characters.h"

static bool is_hex(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f') ||
           (byte >= 'A' && byte <= 'F');
}

static enum json_string_state begin(uint8_t byte)
{
    if (byte == '"')
        return JSON_STRING_END;
    if (byte == '\\')
        return JSON_STRING_ESCAPE;
    if (byte < 0x80)
        return byte < 0x20 ? JSON_STRING_WRONG : JSON_STRING_BETWEEN;
    if (byte < 0xC2)
        return JSON_STRING_WRONG;
    if (byte < 0xE0)
        return JSON_STRING_MORE_1;
    if (byte < 0xF0)
        return byte == 0xE0   ? JSON_STRING_MORE_2_LOW
               : byte == 0xED ? JSON_STRING_MORE_2_HIGH
                              : JSON_STRING_MORE_2;
    if (byte > 0xF4)
        return JSON_STRING_WRONG;
    return byte == 0xF0   ? JSON_STRING_MORE_3_LOW
           : byte == 0xF4 ? JSON_STRING_MORE_3_HIGH
                          : JSON_STRING_MORE_3;
}

static enum json_string_state escape(uint8_t byte)
{
    switch (byte) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return JSON_STRING_BETWEEN;
    case 'u':
        return JSON_STRING_HEX_4;
    default:
        return JSON_STRING_WRONG;
    }
}

static enum json_string_state if_within(uint8_t byte, uint8_t first, uint8_t last,
                                        enum json_string_state next)
{
    return byte >= first && byte <= last ? next : JSON_STRING_WRONG;
}

static enum json_string_state behind_d(uint8_t byte)
{
    if (byte >= '0' && byte <= '7')
        return JSON_STRING_HEX_2;
    bool high = byte == '8' || byte == '9' || (byte | 0x20) == 'a' || (byte | 0x20) == 'b';
    return high ? JSON_STRING_HIGH_2 : JSON_STRING_WRONG;
}

enum json_string_state json_string_step(enum json_string_state state, uint8_t byte)
{
    switch (state) {
    case JSON_STRING_BETWEEN:
        return begin(byte);
    case JSON_STRING_ESCAPE:
        return escape(byte);
    case JSON_STRING_HEX_4:
        if ((byte | 0x20) == 'd')
            return JSON_STRING_HEX_D;
        return is_hex(byte) ? JSON_STRING_HEX_3 : JSON_STRING_WRONG;
    case JSON_STRING_HEX_3:
        return is_hex(byte) ? JSON_STRING_HEX_2 : JSON_STRING_WRONG;
    case JSON_STRING_HEX_2:
        return is_hex(byte) ? JSON_STRING_HEX_1 : JSON_STRING_WRONG;
    case JSON_STRING_HEX_1:
        return is_hex(byte) ? JSON_STRING_BETWEEN : JSON_STRING_WRONG;
    case JSON_STRING_HEX_D:
        return behind_d(byte);
    case JSON_STRING_HIGH_2:
        return is_hex(byte) ? JSON_STRING_HIGH_1 : JSON_STRING_WRONG;
    case JSON_STRING_HIGH_1:
        return is_hex(byte) ? JSON_STRING_LOW_ESCAPE : JSON_STRING_WRONG;
    case JSON_STRING_LOW_ESCAPE:
        return if_within(byte, '\\', '\\', JSON_STRING_LOW_U);
    case JSON_STRING_LOW_U:
        return if_within(byte, 'u', 'u', JSON_STRING_LOW_D);
    case JSON_STRING_LOW_D:
        return if_within(byte | 0x20, 'd', 'd', JSON_STRING_LOW_C);
    case JSON_STRING_LOW_C:
        return if_within(byte | 0x20, 'c', 'f', JSON_STRING_HEX_2);
    case JSON_STRING_MORE_1:
        return if_within(byte, 0x80, 0xBF, JSON_STRING_BETWEEN);
    case JSON_STRING_MORE_2:
        return if_within(byte, 0x80, 0xBF, JSON_STRING_MORE_1);
    case JSON_STRING_MORE_3:
        return if_within(byte, 0x80, 0xBF, JSON_STRING_MORE_2);
    case JSON_STRING_MORE_2_LOW:
        return if_within(byte, 0xA0, 0xBF, JSON_STRING_MORE_1);
    case JSON_STRING_MORE_2_HIGH:
        return if_within(byte, 0x80, 0x9F, JSON_STRING_MORE_1);
    case JSON_STRING_MORE_3_LOW:
        return if_within(byte, 0x90, 0xBF, JSON_STRING_MORE_2);
    case JSON_STRING_MORE_3_HIGH:
        return if_within(byte, 0x80, 0x8F, JSON_STRING_MORE_2);
    default:
        return JSON_STRING_WRONG;
    }
}

bool json_string_is_escaped(uint32_t character)
{
    return character < 0x20 || character == '"' || character == '\\';
}

unsigned json_string_write(uint32_t character, uint8_t out[6])
{
    static const char named[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt",
                      digits[] = "0123456789abcdef";
    if (!json_string_is_escaped(character))
        return characters_write(character, out);
    const char *name = character ? strchr(named, (int)character) : NULL;
    out[0] = '\\';
    if (name) {
        out[1] = (uint8_t)names[name - named];
        return 2;
    }
    memcpy(out + 1, "u00", 3);
    out[4] = (uint8_t)digits[character >> 4];
    out[5] = (uint8_t)digits[character & 15];
    return 6;
}
