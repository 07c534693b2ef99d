/* link: engine_predict */
/* Any bytes as weights of the LSTM load predictor, once as they are and once with the checksum put
 * right, so that mutations reach what is checked behind it. What is accepted must forecast. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/predict/lstm.h"
#include "engine/predict/lstm_file.h"
#include "memory/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECKSUM_AT 68

static void forecast(const struct lstm_net *net)
{
    struct lstm_config config = {net->sizes.layers, net->sizes.experts, NULL, net};
    struct predictor *lstm;
    float *share = calloc(net->sizes.experts, sizeof *share);
    if (!share || lstm_open(&lstm, &config, NULL) != STATUS_OK) {
        free(share);
        return;
    }
    share[0] = 1;
    for (uint32_t layer = 0; layer < net->sizes.layers; layer++)
        lstm->ops->tick(lstm, layer, share);
    CHECK(lstm->ops->loads(lstm, 0, 1, share));
    CHECK(!lstm->ops->loads(lstm, 0, LSTM_HORIZON_MAX + 1, share));
    predictor_close(lstm);
    free(share);
}

static void parse(const uint8_t *data, size_t size)
{
    struct lstm_net *net;
    struct error error = {0};
    if (lstm_file_parse(&net, "fuzz", data, size, &error) != STATUS_OK) {
        CHECK(!net && strncmp(error.text, "fuzz: ", 6) == 0);
        return;
    }
    for (size_t i = 0; i < net->count; i++)
        CHECK(isfinite(lstm_net_weights(net)[i]));
    forecast(net);
    lstm_net_close(net);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t hash = 0xCBF29CE484222325u;
    parse(data, size);
    uint8_t *sealed = malloc(size + 1);
    if (sealed && size >= LSTM_FILE_HEADER_BYTES) {
        memcpy(sealed, data, size);
        for (size_t i = 0; i < size; i++)
            if (i < CHECKSUM_AT || i >= LSTM_FILE_HEADER_BYTES)
                hash = (hash ^ sealed[i]) * 0x100000001B3u;
        memcpy(sealed + CHECKSUM_AT, &hash, sizeof hash);
        parse(sealed, size);
    }
    free(sealed);
    return 0;
}
