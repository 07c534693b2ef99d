/* The picture, taken apart chunk by chunk: sums, sizes and the shade of each cell. */
#include "engine/replay/heat_map_png.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/support/scratch.h"

namespace {

uint32_t big(const std::string &s, size_t at)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++)
        value = value << 8 | static_cast<uint8_t>(s[at + i]);
    return value;
}

/* Written apart from the one under test: by table. */
uint32_t crc32_by_table(const std::string &s)
{
    uint32_t crc = UINT32_MAX;
    for (char c : s) {
        uint32_t entry = (crc ^ static_cast<uint8_t>(c)) & 0xff;
        for (int i = 0; i < 8; i++)
            entry = entry & 1 ? 0xEDB88320u ^ entry >> 1 : entry >> 1;
        crc = crc >> 8 ^ entry;
    }
    return ~crc;
}

struct Picture {
    uint32_t width = 0, height = 0;
    std::vector<std::string> chunks;
    std::string pixels; /* [height][1 + width] */

    explicit Picture(const std::string &file)
    {
        EXPECT_EQ(file.substr(0, 8), "\x89PNG\r\n\x1a\n");
        for (size_t at = 8; at < file.size();) {
            uint32_t bytes = big(file, at);
            std::string type = file.substr(at + 4, 4), body = file.substr(at + 8, bytes);
            EXPECT_EQ(big(file, at + 8 + bytes), crc32_by_table(type + body)) << type;
            chunks.push_back(type);
            if (type == "IHDR") {
                width = big(body, 0);
                height = big(body, 4);
                EXPECT_EQ(body.substr(8), std::string("\x08\x03\0\0\0", 5));
            } else if (type == "IDAT") {
                unpack(body);
            }
            at += 12 + bytes;
        }
    }
    void unpack(const std::string &z)
    {
        EXPECT_EQ((static_cast<uint8_t>(z[0]) * 256 + static_cast<uint8_t>(z[1])) % 31, 0);
        size_t at = 2;
        for (bool last = false; !last;) {
            last = z[at] == 1;
            uint32_t n = static_cast<uint8_t>(z[at + 1]) | static_cast<uint8_t>(z[at + 2]) << 8;
            uint32_t inverse = static_cast<uint8_t>(z[at + 3]) | static_cast<uint8_t>(z[at + 4])
                                                                     << 8;
            EXPECT_EQ(n ^ inverse, 0xffffu);
            pixels += z.substr(at + 5, n);
            at += 5 + n;
        }
        uint64_t a = 1, b = 0;
        for (char c : pixels) {
            a += static_cast<uint8_t>(c);
            b += a;
        }
        EXPECT_EQ(big(z, at), (b % 65521) << 16 | a % 65521);
        EXPECT_EQ(at + 4, z.size());
    }
    int shade(uint32_t x, uint32_t y) const
    {
        return static_cast<uint8_t>(pixels[y * (1 + width) + 1 + x]);
    }
};

TEST(heat_map_png, every_cell_has_its_shade)
{
    scratch::Folder folder;
    std::vector<uint64_t> counts = {0, 100, 25, 1, 4, 100};
    std::string path = folder.path("a.png");
    struct error error = {};
    ASSERT_EQ(heat_map_png_write(path.c_str(), counts.data(), 2, 3, &error), STATUS_OK)
        << error.text;
    Picture p(folder.read("a.png"));
    EXPECT_EQ(p.chunks, (std::vector<std::string>{"IHDR", "PLTE", "IDAT", "IEND"}));
    EXPECT_EQ(p.width, 48u);
    EXPECT_EQ(p.height, 32u);
    ASSERT_EQ(p.pixels.size(), 32u * 49);
    for (uint32_t y = 0; y < p.height; y++) {
        EXPECT_EQ(p.pixels[y * 49], 0);
        for (uint32_t x = 0; x < p.width; x++)
            ASSERT_EQ(p.shade(x, y), std::lround(25.5 * std::sqrt(counts[y / 16 * 3 + x / 16])));
    }
}

TEST(heat_map_png, a_large_map_takes_several_blocks)
{
    scratch::Folder folder;
    std::vector<uint64_t> counts(60 * 2000);
    for (size_t i = 0; i < counts.size(); i++)
        counts[i] = i % 7;
    std::string path = folder.path("a.png");
    ASSERT_EQ(heat_map_png_write(path.c_str(), counts.data(), 60, 2000, nullptr), STATUS_OK);
    Picture p(folder.read("a.png"));
    EXPECT_EQ(p.width, 2000u);
    EXPECT_EQ(p.height, 60u);
    EXPECT_EQ(p.pixels.size(), 60u * 2001);
    EXPECT_EQ(p.shade(6, 0), 255);
    std::vector<uint64_t> none(4);
    ASSERT_EQ(heat_map_png_write(path.c_str(), none.data(), 2, 2, nullptr), STATUS_OK);
    EXPECT_EQ(Picture(folder.read("a.png")).shade(0, 0), 0);
}

TEST(heat_map_png, what_cannot_be_written)
{
    uint64_t one = 1;
    struct error error = {};
    EXPECT_EQ(heat_map_png_write("/no/such/a.png", &one, 1, 1, &error), STATUS_IO);
    EXPECT_EQ(std::string(error.text).find("/no/such/a.png: "), 0u) << error.text;
    error = {};
    EXPECT_EQ(heat_map_png_write("/no/such/a.png", nullptr, 65535, 65535, &error), STATUS_INVALID);
    error = {};
    EXPECT_EQ(heat_map_png_write("/dev/full", &one, 1, 1, &error), STATUS_IO);
    EXPECT_NE(std::string(error.text).find("No space"), std::string::npos) << error.text;
}

} // namespace
