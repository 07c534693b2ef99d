#include "engine/moe/routing_script.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/toy_batch.h"

namespace {

/* Expert numbers that tell what was asked. */
void choices(void *self, uint32_t layer, uint32_t item, uint32_t position, uint32_t *chosen)
{
    ++*static_cast<uint32_t *>(self);
    for (uint32_t k = 0; k < 3; k++)
        chosen[k] = layer * 10000 + item * 1000 + position * 10 + k;
}

TEST(RoutingScript, EachRowOfEachLayerGetsItsOwn)
{
    struct backend *b = nullptr;
    struct error error = {};
    struct cpu_backend_config config = {1, CPU_SCALAR, 1, 1, 1};
    ASSERT_EQ(cpu_backend_open(&b, &config, &error), STATUS_OK) << error.text;
    uint32_t calls = 0;
    struct scripted_routing scripted = {};
    ASSERT_EQ(scripted_routing_open(&scripted, b, {&calls, choices}, 4, 5, 3, &error), STATUS_OK);
    const uint32_t tokens[] = {1, 2, 3}, blocks[] = {0};
    for (uint32_t position : {0u, 7u}) { /* a later step overwrites */
        toy::Batch batch;
        batch.add(tokens, 2, position, blocks);
        batch.add(tokens, 1, 20, blocks);
        scripted_routing_begin(&scripted, batch.get());
        for (uint32_t layer = 0; layer < 4; layer++) {
            std::vector<uint32_t> chosen(9, 99);
            scripted_routing_apply(&scripted, layer, 3, chosen.data());
            for (uint32_t r = 0; r < 3; r++)
                for (uint32_t k = 0; k < 3; k++)
                    EXPECT_EQ(chosen[r * 3 + k], layer * 10000 + (r == 2) * 1000 +
                                                     (r == 2 ? 20 : position + r) * 10 + k);
        }
    }
    EXPECT_EQ(calls, 2u * 4 * 3);
    scripted_routing_close(&scripted);
    backend_close(b);
}

TEST(RoutingScript, ClosesWhatNeverOpened)
{
    struct scripted_routing none = {};
    scripted_routing_close(&none);
}

} // namespace
