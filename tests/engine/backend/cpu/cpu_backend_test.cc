/* Opening, memory, names, layouts, and what it all takes. */
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

TEST(cpu_backend, block_formats_are_packed_unless_products_are_to_be_exact)
{
    for (bool exact : {false, true}) {
        struct cpu_backend_config config = {1, CPU_BEST, 64, 16, 4, 64, 2, exact};
        Backend b = open_backend(config);
        for (int d = 0; d < DTYPE_COUNT; d++) {
            enum dtype dtype = (enum dtype)d;
            enum weight_layout layout;
            ASSERT_TRUE(b->ops->layout(b.get(), dtype, &layout));
            bool packed = !dtype_is_plain(dtype) && !exact;
            EXPECT_EQ(layout, packed ? LAYOUT_PACKED : LAYOUT_ROWS) << dtype_info(dtype)->name;
        }
    }
}

TEST(cpu_backend, as_many_experts_at_once_as_configured)
{
    for (uint32_t experts : {0u, 1u, 64u}) {
        struct cpu_backend_config config = {1, CPU_BEST, 64, 16, 4, 64, experts, false};
        EXPECT_EQ(open_backend(config)->ops->experts_at_once, experts > 0 ? experts : 1);
    }
}

TEST(cpu_backend, its_memory_is_counted_and_does_not_grow_with_the_context)
{
    struct cpu_backend_config config = {2, CPU_BEST, 1024, 4096, 512, 2048, 64, false};
    uint64_t bytes = cpu_backend_bytes(&config);
    EXPECT_GT(bytes, 512u * (1024u * 4 + 2048));
    EXPECT_LT(bytes, 64u << 20);
    config.context_max = 1 << 20;
    EXPECT_EQ(cpu_backend_bytes(&config), bytes);
    config.exact = true;
    EXPECT_LT(cpu_backend_bytes(&config), bytes);
    config.rows_max = config.expert_width_max = UINT32_MAX;
    EXPECT_EQ(cpu_backend_bytes(&config), UINT64_MAX);
}
