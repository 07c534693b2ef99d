/* See api_keys.h. Only SHA-256 digests of the keys are kept, and digests are what is compared:
 * all have one length, each is looked at to its last byte, and so is each of the list, whichever
 * matches. What is left to measure is the length of the client's own text. */
#include "server/net/api_keys.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>

enum { KEY_BYTES_MAX = 512 };

struct digest {
    uint8_t bytes[SHA256_DIGEST_LENGTH];
};

struct api_keys {
    struct digest *digests;
    size_t count, capacity;
};

static struct digest digest_of(const char *text, size_t bytes)
{
    struct digest digest;
    (void)SHA256((const unsigned char *)text, bytes, digest.bytes);
    return digest;
}

static bool key_well_formed(const char *key, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (key[i] <= ' ' || key[i] > '~')
            return false;
    return bytes > 0 && bytes <= KEY_BYTES_MAX;
}

/* `where` names the flag or the file and line; the key itself is never repeated. */
static enum status keys_add(struct api_keys *keys, const char *key, size_t bytes,
                            const char *where, struct error *error)
{
    if (!key_well_formed(key, bytes))
        return error_set(error, STATUS_INVALID,
                         "%s: a key is 1 to %d printable characters without blanks", where,
                         (int)KEY_BYTES_MAX);
    if (keys->count == keys->capacity) {
        size_t capacity = keys->capacity ? 2 * keys->capacity : 4;
        struct digest *digests = realloc(keys->digests, capacity * sizeof *digests);
        if (!digests)
            return error_set(error, STATUS_NO_MEMORY, "no memory for API keys");
        keys->digests = digests;
        keys->capacity = capacity;
    }
    keys->digests[keys->count++] = digest_of(key, bytes);
    return STATUS_OK;
}

static enum status line_add(struct api_keys *keys, char *line, size_t bytes, const char *path,
                            unsigned number, struct error *error)
{
    char where[300];
    while (bytes > 0 && strchr("\r\n\t ", line[bytes - 1]) && line[bytes - 1] != '\0')
        bytes--;
    while (bytes > 0 && (*line == ' ' || *line == '\t')) {
        line++;
        bytes--;
    }
    if (bytes == 0 || *line == '#')
        return STATUS_OK;
    (void)snprintf(where, sizeof where, "--api-key-file %.200s line %u", path, number);
    return keys_add(keys, line, bytes, where, error);
}

static enum status file_add(struct api_keys *keys, const char *path, struct error *error)
{
    enum status status = STATUS_OK;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t bytes;
    FILE *file = fopen(path, "re");
    if (!file)
        return error_set(error, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO,
                         "--api-key-file %s: %s", path, strerror(errno));
    for (unsigned number = 1;
         status == STATUS_OK && (bytes = getline(&line, &capacity, file)) >= 0; number++)
        status = line_add(keys, line, (size_t)bytes, path, number, error);
    if (status == STATUS_OK && ferror(file))
        status = error_set(error, STATUS_IO, "--api-key-file %s: %s", path, strerror(errno));
    (void)fclose(file);
    if (line)
        OPENSSL_cleanse(line, capacity);
    free(line);
    return status;
}

enum status api_keys_open(struct api_keys **out, const char *key, const char *path,
                          struct error *error)
{
    *out = NULL;
    if (!key && !path)
        return STATUS_OK;
    struct api_keys *keys = calloc(1, sizeof *keys);
    if (!keys)
        return error_set(error, STATUS_NO_MEMORY, "no memory for API keys");
    enum status status = STATUS_OK;
    if (key)
        status = keys_add(keys, key, strlen(key), "--api-key", error);
    if (status == STATUS_OK && path)
        status = file_add(keys, path, error);
    if (status == STATUS_OK && keys->count == 0)
        status = error_set(error, STATUS_INVALID, "--api-key-file %s: no key in it", path);
    if (status != STATUS_OK) {
        api_keys_close(keys);
        return status;
    }
    *out = keys;
    return STATUS_OK;
}

void api_keys_close(struct api_keys *keys)
{
    if (!keys)
        return;
    free(keys->digests);
    free(keys);
}

static bool text_allowed(const struct api_keys *keys, const char *text)
{
    struct digest digest = digest_of(text, strlen(text));
    int found = 0;
    for (size_t i = 0; i < keys->count; i++)
        found |= CRYPTO_memcmp(&keys->digests[i], &digest, sizeof digest) == 0;
    return found != 0;
}

bool api_keys_allow(const struct api_keys *keys, const char *authorization,
                    const char *x_api_key)
{
    static const char scheme[] = "Bearer ";
    if (authorization && strncasecmp(authorization, scheme, sizeof scheme - 1) == 0) {
        const char *key = authorization + sizeof scheme - 1;
        while (*key == ' ')
            key++;
        if (text_allowed(keys, key))
            return true;
    }
    return x_api_key && text_allowed(keys, x_api_key);
}
