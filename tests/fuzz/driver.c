/* A fuzzing loop for compilers without libFuzzer: every seed of the corpus once, then seeded
 * mutations of them until the time is over. No coverage feedback; run libFuzzer for depth (see
 * README.md).
 *
 *     fuzz_x [--seconds N] [--seed S] [--max-bytes B] CORPUS_DIR_OR_FILE...
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "memory/base/clock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seed {
    uint8_t *data;
    size_t size;
};

struct corpus {
    struct seed *seeds;
    size_t count, capacity;
};

static uint64_t next_random(uint64_t *state) /* xorshift64* */
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1Du;
}

static void corpus_add(struct corpus *corpus, const uint8_t *data, size_t size)
{
    if (corpus->count == corpus->capacity) {
        corpus->capacity = corpus->capacity ? 2 * corpus->capacity : 16;
        corpus->seeds = realloc(corpus->seeds, corpus->capacity * sizeof *corpus->seeds);
    }
    struct seed *seed = &corpus->seeds[corpus->count++];
    seed->data = malloc(size + 1);
    seed->size = size;
    memcpy(seed->data, data, size);
}

static void corpus_read(struct corpus *corpus, const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return;
    if (S_ISDIR(info.st_mode)) {
        DIR *dir = opendir(path);
        if (!dir)
            return;
        for (struct dirent *entry; (entry = readdir(dir));) {
            char child[4096];
            if (entry->d_name[0] == '.')
                continue;
            snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
            corpus_read(corpus, child);
        }
        closedir(dir);
        return;
    }
    FILE *file = fopen(path, "rb");
    if (!file)
        return;
    uint8_t *data = malloc((size_t)info.st_size + 1);
    size_t size = fread(data, 1, (size_t)info.st_size, file);
    fclose(file);
    corpus_add(corpus, data, size);
    free(data);
}

/* One edit in place; returns the new size. The buffer has room for max_bytes. */
static size_t mutate_once(uint8_t *data, size_t size, size_t max_bytes, const struct corpus *corpus,
                          uint64_t *rng)
{
    static const uint64_t interesting[] = {0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fffffff, 0xffffffff,
                                           0x7fffffffffffffff, 0xffffffffffffffff, 4096, 1u << 31};
    size_t at = size ? next_random(rng) % size : 0;
    switch (next_random(rng) % 7) {
    case 0: /* flip a bit */
        if (size)
            data[at] ^= (uint8_t)(1u << (next_random(rng) & 7));
        return size;
    case 1: /* a random byte, often one with a meaning in text formats */
        if (size)
            data[at] = (next_random(rng) & 1) ? (uint8_t)"{}[]\",:0-9\\u\n"[next_random(rng) % 13]
                                              : (uint8_t)next_random(rng);
        return size;
    case 2: { /* an interesting number of 1, 2, 4 or 8 bytes */
        size_t width = (size_t)1 << (next_random(rng) & 3);
        if (size >= width)
            memcpy(data + next_random(rng) % (size - width + 1),
                   &interesting[next_random(rng) % 12], width);
        return size;
    }
    case 3: { /* cut out */
        size_t n = size ? 1 + next_random(rng) % (size - at < 64 ? size - at : 64) : 0;
        memmove(data + at, data + at + n, size - at - n);
        return size - n;
    }
    case 4: { /* repeat a stretch */
        size_t n = size ? 1 + next_random(rng) % (size - at < 64 ? size - at : 64) : 0;
        if (size + n > max_bytes)
            return size;
        memmove(data + at + n, data + at, size - at);
        return size + n;
    }
    case 5: { /* splice in from another seed */
        const struct seed *other = &corpus->seeds[next_random(rng) % corpus->count];
        if (!other->size)
            return size;
        size_t from = next_random(rng) % other->size;
        size_t n = 1 + next_random(rng) % (other->size - from < 256 ? other->size - from : 256);
        if (at + n > max_bytes)
            return size;
        memcpy(data + at, other->data + from, n);
        return at + n > size ? at + n : size;
    }
    default: /* truncate */
        return size ? next_random(rng) % size : 0;
    }
}

int main(int argc, char **argv)
{
    double seconds = 30;
    uint64_t rng = 0x9E3779B97F4A7C15u;
    size_t max_bytes = 1 << 16;
    struct corpus corpus = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
            seconds = atof(argv[++i]);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            rng ^= strtoull(argv[++i], NULL, 0) * 0xD1342543DE82EF95u;
        else if (strcmp(argv[i], "--max-bytes") == 0 && i + 1 < argc)
            max_bytes = strtoull(argv[++i], NULL, 0);
        else
            corpus_read(&corpus, argv[i]);
    }
    corpus_add(&corpus, (const uint8_t *)"", 0);
    for (size_t i = 0; i < corpus.count; i++)
        LLVMFuzzerTestOneInput(corpus.seeds[i].data, corpus.seeds[i].size);

    uint64_t end = clock_now_ns() + (uint64_t)(seconds * 1e9), runs = 0;
    uint8_t *buffer = malloc(max_bytes + 1);
    while (clock_now_ns() < end) {
        const struct seed *seed = &corpus.seeds[next_random(&rng) % corpus.count];
        size_t size = seed->size < max_bytes ? seed->size : max_bytes;
        memcpy(buffer, seed->data, size);
        for (uint64_t n = 1 + next_random(&rng) % 8; n > 0; n--)
            size = mutate_once(buffer, size, max_bytes, &corpus, &rng);
        uint8_t *exact = malloc(size ? size : 1); /* exact size: the sanitizer sees an overread */
        memcpy(exact, buffer, size);
        LLVMFuzzerTestOneInput(exact, size);
        free(exact);
        runs++;
    }
    printf("%llu inputs, %zu seeds, no crash\n", (unsigned long long)runs, corpus.count - 1);
    for (size_t i = 0; i < corpus.count; i++)
        free(corpus.seeds[i].data);
    free(corpus.seeds);
    free(buffer);
    return 0;
}
