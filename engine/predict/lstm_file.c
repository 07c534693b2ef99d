#include "engine/predict/lstm_file.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory/base/bytes.h"
#include "memory/base/check.h"

static const char magic[8] = "MOELSTM";
#define VERSION 1u

enum { /* where each field begins */
    AT_VERSION = 8,
    AT_SIZES = 12,
    AT_HORIZONS = 28,
    AT_WEIGHTS = 60,
    AT_CHECKSUM = 68,
};

static uint64_t fnv1a(uint64_t hash, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ bytes[i]) * 0x100000001B3u;
    return hash;
}

static uint64_t checksum(const uint8_t *header, const void *weights, size_t bytes)
{
    return fnv1a(fnv1a(0xCBF29CE484222325u, header, AT_CHECKSUM), weights, bytes);
}

static enum status parse_header(struct lstm_sizes *sizes, const char *file, const uint8_t *at,
                                size_t count, struct error *error)
{
    if (count < LSTM_FILE_HEADER_BYTES)
        return error_set(error, STATUS_INVALID, "%s: header: %zu bytes are too few, it has %u",
                         file, count, LSTM_FILE_HEADER_BYTES);
    if (memcmp(at, magic, sizeof magic) != 0)
        return error_set(error, STATUS_INVALID,
                         "%s: magic: these are not the weights of a load forecast", file);
    if (bytes_le32(at + AT_VERSION) != VERSION)
        return error_set(error, STATUS_UNSUPPORTED, "%s: version is %u; this build reads %u", file,
                         bytes_le32(at + AT_VERSION), VERSION);
    sizes->layers = bytes_le32(at + AT_SIZES);
    sizes->experts = bytes_le32(at + AT_SIZES + 4);
    sizes->units = bytes_le32(at + AT_SIZES + 8);
    sizes->horizon_count = bytes_le32(at + AT_SIZES + 12);
    for (size_t i = 0; i < LSTM_HORIZONS_MAX; i++)
        sizes->horizons[i] = bytes_le32(at + AT_HORIZONS + 4 * i);
    struct error why = {0};
    if (lstm_sizes_check(sizes, &why) != STATUS_OK)
        return error_set(error, STATUS_INVALID, "%s: %s", file, why.text);
    uint64_t weights = bytes_le64(at + AT_WEIGHTS), expected = lstm_sizes_weights(sizes);
    if (weights != expected)
        return error_set(error, STATUS_INVALID, "%s: weights is %llu; the sizes make %llu", file,
                         (unsigned long long)weights, (unsigned long long)expected);
    if (count - LSTM_FILE_HEADER_BYTES != expected * sizeof(float))
        return error_set(error, STATUS_INVALID,
                         "%s: weights: %zu bytes follow the header; %llu of them take %llu", file,
                         count - LSTM_FILE_HEADER_BYTES, (unsigned long long)expected,
                         (unsigned long long)(expected * sizeof(float)));
    return STATUS_OK;
}

enum status lstm_file_parse(struct lstm_net **out, const char *file, const void *bytes,
                            size_t count, struct error *error)
{
    const uint8_t *at = bytes;
    struct lstm_sizes sizes = {0};
    *out = NULL;
    enum status status = parse_header(&sizes, file, at, count, error);
    if (status != STATUS_OK)
        return status;
    uint64_t found = checksum(at, at + LSTM_FILE_HEADER_BYTES, count - LSTM_FILE_HEADER_BYTES);
    if (found != bytes_le64(at + AT_CHECKSUM))
        return error_set(error, STATUS_INVALID, "%s: checksum is %016llx; the bytes give %016llx",
                         file, (unsigned long long)bytes_le64(at + AT_CHECKSUM),
                         (unsigned long long)found);
    struct lstm_net *net;
    status = lstm_net_open(&net, &sizes, 0, error);
    if (status != STATUS_OK)
        return status;
    float *weights = lstm_net_weights(net);
    memcpy(weights, at + LSTM_FILE_HEADER_BYTES, net->count * sizeof *weights);
    for (size_t i = 0; i < net->count; i++) {
        if (isfinite(weights[i]))
            continue;
        lstm_net_close(net);
        return error_set(error, STATUS_INVALID, "%s: weights[%zu] is not a finite number", file, i);
    }
    *out = net;
    return STATUS_OK;
}

/* A regular file of a believable length, which is written to *size. */
static enum status open_file(FILE **out, size_t *size, const char *path, struct error *error)
{
    struct lstm_sizes widest = {LSTM_OUTPUTS_MAX, 1, LSTM_UNITS_MAX, LSTM_HORIZONS_MAX, {0}};
    const uint64_t most = LSTM_FILE_HEADER_BYTES + lstm_sizes_weights(&widest) * sizeof(float);
    struct stat info;
    enum status status = STATUS_OK;
    FILE *file = fopen(path, "rbe");
    if (!file)
        return error_set(error, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "%s: %s", path,
                         strerror(errno));
    if (fstat(fileno(file), &info) != 0)
        status = error_set(error, STATUS_IO, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(info.st_mode))
        status = error_set(error, STATUS_INVALID, "%s: not a regular file", path);
    else if ((uint64_t)info.st_size > most)
        status = error_set(error, STATUS_INVALID, "%s: %lld bytes are more than the %llu allowed",
                           path, (long long)info.st_size, (unsigned long long)most);
    if (status != STATUS_OK) {
        fclose(file);
        return status;
    }
    *out = file;
    *size = (size_t)info.st_size;
    return STATUS_OK;
}

enum status lstm_file_read(struct lstm_net **out, const char *path, struct error *error)
{
    FILE *file = NULL;
    size_t size = 0;
    *out = NULL;
    enum status status = open_file(&file, &size, path, error);
    if (status != STATUS_OK)
        return status;
    uint8_t *bytes = malloc(size + 1);
    if (!bytes)
        status = error_set(error, STATUS_NO_MEMORY, "%s: no memory to read it", path);
    else if (fread(bytes, 1, size, file) != size)
        status = error_set(error, STATUS_IO, "%s: cannot be read to its end", path);
    else
        status = lstm_file_parse(out, path, bytes, size, error);
    free(bytes);
    fclose(file);
    return status;
}

enum status lstm_file_sizes(struct lstm_sizes *out, const char *path, struct error *error)
{
    uint8_t header[LSTM_FILE_HEADER_BYTES];
    FILE *file = NULL;
    size_t size = 0;
    memset(out, 0, sizeof *out);
    enum status status = open_file(&file, &size, path, error);
    if (status != STATUS_OK)
        return status;
    size_t wanted = size < sizeof header ? size : sizeof header;
    if (fread(header, 1, wanted, file) != wanted)
        status = error_set(error, STATUS_IO, "%s: cannot be read to its end", path);
    else
        status = parse_header(out, path, header, size, error);
    fclose(file);
    return status;
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

static void put64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof value);
}

static void make_header(uint8_t header[LSTM_FILE_HEADER_BYTES], const struct lstm_net *net)
{
    const struct lstm_sizes *sizes = &net->sizes;
    memcpy(header, magic, sizeof magic);
    put32(header + AT_VERSION, VERSION);
    put32(header + AT_SIZES, sizes->layers);
    put32(header + AT_SIZES + 4, sizes->experts);
    put32(header + AT_SIZES + 8, sizes->units);
    put32(header + AT_SIZES + 12, sizes->horizon_count);
    for (size_t i = 0; i < LSTM_HORIZONS_MAX; i++)
        put32(header + AT_HORIZONS + 4 * i, sizes->horizons[i]);
    put64(header + AT_WEIGHTS, net->count);
    put64(header + AT_CHECKSUM,
          checksum(header, lstm_net_weights(net), net->count * sizeof(float)));
}

enum status lstm_file_write(const struct lstm_net *net, const char *path, struct error *error)
{
    uint8_t header[LSTM_FILE_HEADER_BYTES];
    size_t room = strlen(path) + sizeof ".part";
    char *part = malloc(room);
    if (!part)
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory to write it", path);
    snprintf(part, room, "%s.part", path);
    make_header(header, net);
    FILE *file = fopen(part, "wb");
    bool good = file && fwrite(header, 1, sizeof header, file) == sizeof header &&
                fwrite(lstm_net_weights(net), sizeof(float), net->count, file) == net->count &&
                fflush(file) == 0 && fsync(fileno(file)) == 0;
    int cause = errno;
    if (file && fclose(file) != 0 && good) {
        good = false;
        cause = errno;
    }
    if (good && rename(part, path) != 0) {
        good = false;
        cause = errno;
    }
    if (file && !good)
        unlink(part);
    free(part);
    if (!good)
        return error_set(error, STATUS_IO, "%s: cannot be written: %s", path, strerror(cause));
    return STATUS_OK;
}
