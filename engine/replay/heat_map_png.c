/* PNG (ISO/IEC 15948) with 256 colours in a palette and deflate blocks that are stored, not packed:
 * a heat map is small, so neither zlib nor a packer of our own earns its place. Written in one
 * piece from memory. */
#include "engine/replay/heat_map_png.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PIXELS_WANTED = 640,   /* cells grow until the longer side is about so wide */
    CELL_MAX = 16,
    STORED_BYTES = 65535,  /* of one stored block */
    BYTES_MAX = 1 << 28,
};

struct png {
    uint8_t *bytes;
    size_t count;
};

static void put32(struct png *p, uint32_t value) /* big endian */
{
    for (int shift = 24; shift >= 0; shift -= 8)
        p->bytes[p->count++] = (uint8_t)(value >> shift);
}

static void put(struct png *p, const void *bytes, size_t count)
{
    memcpy(p->bytes + p->count, bytes, count);
    p->count += count;
}

/* CRC-32 as in PNG, annex D, bit by bit. */
static uint32_t crc32_of(const uint8_t *bytes, size_t count)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

static uint32_t adler32_of(const uint8_t *bytes, size_t count)
{
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < count; i++) {
        a = (a + bytes[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

/* A chunk is its length, type, data and the CRC of the last two. Returns where the type began. */
static size_t begin_chunk(struct png *p, const char *type, uint32_t bytes)
{
    put32(p, bytes);
    size_t at = p->count;
    put(p, type, 4);
    return at;
}

static void end_chunk(struct png *p, size_t at)
{
    put32(p, crc32_of(p->bytes + at, p->count - at));
}

/* Black over red and yellow to white. */
static void put_palette(struct png *p)
{
    size_t at = begin_chunk(p, "PLTE", 256 * 3);
    for (int i = 0; i < 256; i++)
        for (int channel = 0; channel < 3; channel++) {
            int light = 3 * i - 255 * channel;
            p->bytes[p->count++] = (uint8_t)(light < 0 ? 0 : light > 255 ? 255 : light);
        }
    end_chunk(p, at);
}

/* The picture's lines as a zlib stream of stored blocks. */
static void put_pixels(struct png *p, const uint8_t *lines, size_t count)
{
    size_t blocks = (count + STORED_BYTES - 1) / STORED_BYTES;
    size_t at = begin_chunk(p, "IDAT", (uint32_t)(2 + count + 5 * blocks + 4));
    put(p, "\x78\x01", 2);
    for (size_t done = 0; done < count;) {
        size_t n = count - done < STORED_BYTES ? count - done : STORED_BYTES;
        uint8_t head[5] = {done + n == count, (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)~n,
                           (uint8_t)(~n >> 8)};
        put(p, head, sizeof head);
        put(p, lines + done, n);
        done += n;
    }
    put32(p, adler32_of(lines, count));
    end_chunk(p, at);
}

/* [height][1 + width]: each line begins with its filter, 0: none. */
static void draw(uint8_t *lines, const uint64_t *counts, uint32_t rows, uint32_t columns,
                 uint32_t cell)
{
    size_t width = (size_t)columns * cell;
    uint64_t most = 1;
    for (size_t i = 0; i < (size_t)rows * columns; i++)
        most = counts[i] > most ? counts[i] : most;
    for (size_t y = 0; y < (size_t)rows * cell; y++, lines += 1 + width) {
        const uint64_t *row = counts + y / cell * columns;
        lines[0] = 0;
        for (size_t x = 0; x < width; x++)
            lines[1 + x] = (uint8_t)lround(255 * sqrt((double)row[x / cell] / (double)most));
    }
}

static enum status write_file(const char *path, const struct png *p, struct error *error)
{
    FILE *out = fopen(path, "we");
    bool good = out && fwrite(p->bytes, 1, p->count, out) == p->count;
    int why = errno;
    if (out && fclose(out) != 0 && good) {
        good = false;
        why = errno;
    }
    return good ? STATUS_OK : error_set(error, STATUS_IO, "%s: %s", path, strerror(why));
}

enum status heat_map_png_write(const char *path, const uint64_t *counts, uint32_t rows,
                               uint32_t columns, struct error *error)
{
    uint32_t longer = rows > columns ? rows : columns;
    uint32_t cell = longer < PIXELS_WANTED ? PIXELS_WANTED / longer : 1;
    cell = cell > CELL_MAX ? CELL_MAX : cell;
    uint64_t width = (uint64_t)columns * cell, height = (uint64_t)rows * cell;
    if (width > BYTES_MAX || height > BYTES_MAX || (width + 1) * height > BYTES_MAX)
        return error_set(error, STATUS_INVALID, "%s: %u x %u is too large for a picture", path,
                         rows, columns);
    size_t pixels = (size_t)((width + 1) * height);
    struct png p = {.bytes = malloc(pixels + pixels / STORED_BYTES * 5 + 1024)};
    uint8_t *lines = malloc(pixels);
    enum status status = STATUS_NO_MEMORY;
    if (p.bytes && lines) {
        draw(lines, counts, rows, columns, cell);
        put(&p, "\x89PNG\r\n\x1a\n", 8);
        size_t at = begin_chunk(&p, "IHDR", 13);
        put32(&p, (uint32_t)width);
        put32(&p, (uint32_t)height);
        put(&p, "\x08\x03\0\0\0", 5); /* 8 bits, palette, deflate, plain filters, not interlaced */
        end_chunk(&p, at);
        put_palette(&p);
        put_pixels(&p, lines, pixels);
        end_chunk(&p, begin_chunk(&p, "IEND", 0));
        status = write_file(path, &p, error);
    }
    free(lines);
    free(p.bytes);
    return status == STATUS_OK ? STATUS_OK
                               : error_set(error, status, "%s: no memory for the picture", path);
}
