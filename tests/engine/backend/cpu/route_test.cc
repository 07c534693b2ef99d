/* The choice itself is router_test.cc's; here: each row gets its own, whoever makes it. */
#include "tests/engine/backend/cpu/cpu_checks.h"

TEST(route, every_row_as_router_choose_alone)
{
    Noise noise(1);
    for (uint32_t threads : {1u, 3u}) {
        Backend b = open_backend(CPU_BEST, threads);
        for (uint32_t rows : {0u, 1u, 5u, 80u}) {
            struct router router = {ROUTER_SOFTMAX, 60, 7};
            std::vector<float> scores = noise.list(rows * router.experts, 4.0f);
            std::vector<uint32_t> chosen(rows * router.top_k), want(router.top_k);
            std::vector<float> weights(chosen.size()), want_weights(router.top_k);
            b->ops->route(b.get(), &router, scores.data(), rows, chosen.data(), weights.data());
            for (uint32_t r = 0; r < rows; r++) {
                router_choose(&router, &scores[r * router.experts], want.data(),
                              want_weights.data());
                for (uint32_t i = 0; i < router.top_k; i++) {
                    ASSERT_EQ(chosen[r * router.top_k + i], want[i]);
                    ASSERT_EQ(weights[r * router.top_k + i], want_weights[i]);
                }
            }
        }
    }
}
