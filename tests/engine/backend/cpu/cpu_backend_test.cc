/* Opening, memory, names, and how work is cut. */
#include "engine/backend/cpu/cpu_backend.h"

#include "tests/engine/backend/cpu/cpu_checks.h"

TEST(cpu_backend, opens_every_instruction_set_of_this_machine)
{
    for (int i = 0; i < CPU_ISA_COUNT; i++) {
        enum cpu_isa isa = (enum cpu_isa)i;
        struct cpu_backend_config config = {2, isa, 16, 16, 4};
        struct backend *b = nullptr;
        struct error error = {};
        enum status status = cpu_backend_open(&b, &config, &error);
        if (kernels_find(isa)) {
            ASSERT_EQ(status, STATUS_OK) << error.text;
            EXPECT_EQ(cpu_backend_isa(b), isa);
            EXPECT_EQ(cpu_backend_threads(b), 2u);
            EXPECT_STREQ(b->ops->name, "cpu");
        } else {
            EXPECT_EQ(status, STATUS_UNSUPPORTED);
            EXPECT_EQ(b, nullptr);
            EXPECT_NE(std::string(error.text).find(cpu_isa_name(isa)), std::string::npos);
        }
        backend_close(b);
    }
    backend_close(nullptr);
}

TEST(cpu_backend, best_is_the_last_that_works)
{
    EXPECT_EQ(cpu_backend_isa(open_backend(CPU_BEST, 1).get()), machine_isas().back());
    EXPECT_GE(cpu_backend_threads(open_backend(CPU_BEST, 0).get()), 1u);
}

TEST(cpu_backend, scratch_that_cannot_be_is_refused)
{
    struct cpu_backend_config config = {1, CPU_BEST, UINT32_MAX, 16, UINT32_MAX};
    struct backend *b = nullptr;
    struct error error = {};
    EXPECT_EQ(cpu_backend_open(&b, &config, &error), STATUS_NO_MEMORY);
    EXPECT_EQ(b, nullptr);
    EXPECT_NE(std::string(error.text).find("rows_max 4294967295"), std::string::npos) << error.text;
}

TEST(cpu_backend, names)
{
    for (int i = 0; i <= CPU_BEST; i++) {
        enum cpu_isa isa = CPU_SCALAR;
        ASSERT_TRUE(cpu_isa_parse(cpu_isa_name((enum cpu_isa)i), &isa));
        EXPECT_EQ(isa, i);
    }
    EXPECT_STREQ(cpu_isa_name(CPU_BEST), "auto");
    enum cpu_isa untouched = CPU_AVX2;
    EXPECT_FALSE(cpu_isa_parse("avx", &untouched));
    EXPECT_FALSE(cpu_isa_parse("", &untouched));
    EXPECT_EQ(untouched, CPU_AVX2);
}

TEST(cpu_backend, memory_is_aligned_zeroed_and_copied)
{
    Backend b = open_backend(CPU_BEST, 1);
    for (size_t bytes : {(size_t)0, (size_t)1, (size_t)63, (size_t)4097, (size_t)9 << 20}) {
        uint8_t *p = (uint8_t *)b->ops->alloc(b.get(), bytes);
        ASSERT_NE(p, nullptr);
        EXPECT_EQ((uintptr_t)p % 64, 0u);
        for (size_t i = 0; i < bytes; i++)
            ASSERT_EQ(p[i], 0);
        std::vector<uint8_t> host(bytes, 7), back(bytes);
        b->ops->upload(b.get(), p, host.data(), bytes);
        b->ops->download(b.get(), back.data(), p, bytes);
        b->ops->sync(b.get());
        EXPECT_EQ(back, host);
        b->ops->release(b.get(), p);
    }
    b->ops->release(b.get(), nullptr);
    EXPECT_EQ(b->ops->alloc(b.get(), SIZE_MAX - 3), nullptr);
}

TEST(cpu_backend, a_split_covers_every_unit_once)
{
    for (uint32_t threads : {1u, 2u, 7u}) {
        Backend b = open_backend(CPU_BEST, threads);
        for (uint32_t units : {0u, 1u, 2u, 15u, 16u, 17u, 1000u, 151936u, UINT32_MAX}) {
            for (uint64_t cost : {1u, 1000u, 100000u}) {
                for (uint32_t align : {1u, 16u}) {
                    struct cpu_split s =
                        cpu_split_work(cpu_backend_of(b.get()), units, cost, align);
                    uint32_t next = 0;
                    for (uint32_t part = 0; part < s.parts; part++) {
                        ASSERT_EQ(cpu_split_begin(&s, part), next);
                        ASSERT_GT(cpu_split_end(&s, part), next);
                        next = cpu_split_end(&s, part);
                    }
                    ASSERT_EQ(next, units);
                    if (units * cost < 1000 || threads == 1) {
                        ASSERT_LE(s.parts, 1u) << "too small to share";
                    }
                }
            }
        }
    }
}
