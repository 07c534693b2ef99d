/* What lands is what the formats say: decoded row by row, it is what the file meant, in every
 * order. */
#include "engine/model/landing.h"

#include <cmath>
#include <cstring>

#include "engine/quant/packed.h"
#include "tests/engine/model/model_harness.h"

namespace {

size_t bytes_of(enum dtype dtype, size_t values)
{
    uint64_t bytes = 0;
    EXPECT_TRUE(dtype_bytes(dtype, values, &bytes));
    return bytes;
}

struct landing_form form_of(enum dtype from, enum dtype to, enum weight_layout layout,
                            uint32_t rows, uint32_t cols)
{
    struct landing_form form = {};
    form.from = from;
    form.to = to;
    form.layout = layout;
    form.rows = rows;
    form.cols = cols;
    return form;
}

std::vector<uint8_t> land(const struct landing_form &form, const std::vector<uint8_t> &from)
{
    size_t bytes = form.rows * bytes_of(form.to, form.cols);
    std::vector<uint8_t> to(bytes + 64, 0xAB);
    landing_matrix(&form, to.data(), from.data());
    for (size_t i = bytes; i < to.size(); i++)
        EXPECT_EQ(to[i], 0xAB) << "byte " << i << " of " << bytes;
    to.resize(bytes);
    return to;
}

std::vector<uint8_t> noise(scratch::Random &random, size_t count)
{
    std::vector<uint8_t> out(count);
    for (uint8_t &byte : out)
        byte = (uint8_t)random.below(256);
    return out;
}

/* Numbers of a plain format around zero. */
std::vector<uint8_t> numbers(scratch::Random &random, enum dtype dtype, size_t count)
{
    std::vector<float> values(count);
    for (float &v : values)
        v = ((float)random.below(20001) - 10000) / 10000;
    std::vector<uint8_t> out(bytes_of(dtype, count));
    dtype_encode(dtype, values.data(), out.data(), count);
    return out;
}

TEST(Landing, CopiesWhatIsToStayAsItIs)
{
    scratch::Random random(1);
    for (enum dtype dtype : {DTYPE_F32, DTYPE_BF16, DTYPE_Q4_K}) {
        struct landing_form form = form_of(dtype, dtype, LAYOUT_ROWS, 5, 256);
        EXPECT_TRUE(landing_copies(&form));
        std::vector<uint8_t> from = noise(random, 5 * bytes_of(dtype, 256));
        EXPECT_EQ(land(form, from), from);
    }
}

TEST(Landing, PacksEveryBlockFormat)
{
    scratch::Random random(2);
    for (int d = DTYPE_Q8_0; d < DTYPE_COUNT; d++)
        for (uint32_t rows : {1u, 16u, 37u}) {
            enum dtype dtype = (enum dtype)d;
            struct landing_form form = form_of(dtype, dtype, LAYOUT_PACKED, rows, 512);
            EXPECT_FALSE(landing_copies(&form));
            std::vector<uint8_t> from = noise(random, rows * bytes_of(dtype, 512));
            std::vector<uint8_t> packed = land(form, from), back(from.size());
            packed_unpack(dtype, packed.data(), back.data(), rows, 512);
            EXPECT_EQ(back, from) << dtype_info(dtype)->name << ", " << rows << " rows";
        }
}

/* Encoded in rows: each row as the encoder does it whole. Packed: the same, side by side. */
TEST(Landing, EncodesPlainNumbers)
{
    scratch::Random random(3);
    for (enum dtype from_type : {DTYPE_F32, DTYPE_F16, DTYPE_BF16})
        for (enum dtype to_type : {DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_Q4_K})
            for (uint32_t rows : {1u, 15u, 16u, 33u})
                for (uint32_t cols : {256u, 32u, 288u, 768u}) {
                    if (cols % dtype_info(to_type)->block_values != 0)
                        continue;
                    SCOPED_TRACE(std::string(dtype_info(to_type)->name) + " " +
                                 std::to_string(rows) + " x " + std::to_string(cols));
                    size_t row_bytes = bytes_of(from_type, cols),
                           to_bytes = bytes_of(to_type, cols);
                    std::vector<uint8_t> from = numbers(random, from_type, (size_t)rows * cols);
                    std::vector<uint8_t> want(rows * to_bytes), back(want.size());
                    std::vector<float> row(cols);
                    for (uint32_t r = 0; r < rows; r++) {
                        dtype_decode(from_type, &from[r * row_bytes], row.data(), cols);
                        dtype_encode(to_type, row.data(), &want[r * to_bytes], cols);
                    }
                    EXPECT_EQ(land(form_of(from_type, to_type, LAYOUT_ROWS, rows, cols), from),
                              want);
                    std::vector<uint8_t> packed =
                        land(form_of(from_type, to_type, LAYOUT_PACKED, rows, cols), from);
                    packed_unpack(to_type, packed.data(), back.data(), rows, cols);
                    EXPECT_EQ(back, want);
                }
}

/* Any number of whole groups at a time gives what all rows at once do. */
TEST(Landing, InPiecesTheSame)
{
    scratch::Random random(4);
    const uint32_t rows = 70, cols = 96;
    size_t from_row = bytes_of(DTYPE_F32, cols), to_row = bytes_of(DTYPE_Q8_0, cols);
    std::vector<uint8_t> from = numbers(random, DTYPE_F32, (size_t)rows * cols);
    struct landing_form form = form_of(DTYPE_F32, DTYPE_Q8_0, LAYOUT_PACKED, rows, cols);
    std::vector<uint8_t> whole = land(form, from), pieces(whole.size());
    for (uint32_t r = 0; r < rows; r += form.rows) {
        form.rows = rows - r < 32 ? rows - r : 32;
        landing_matrix(&form, &pieces[r * to_row], &from[r * from_row]);
    }
    EXPECT_EQ(pieces, whole);
}

TEST(Landing, WhatIsEncoded)
{
    EXPECT_EQ(landing_dtype(DTYPE_BF16, 64, DTYPE_Q4_0), DTYPE_Q4_0);
    EXPECT_EQ(landing_dtype(DTYPE_F32, 64, DTYPE_Q4_K), DTYPE_F32);   /* no whole block */
    EXPECT_EQ(landing_dtype(DTYPE_Q8_0, 256, DTYPE_Q4_0), DTYPE_Q8_0); /* no plain numbers */
    EXPECT_EQ(landing_dtype(DTYPE_F16, 256, DTYPE_COUNT), DTYPE_F16);
}

class Pages : public ToyTest {
protected:
    Pages()
    {
        struct cpu_backend_config cpu = {};
        cpu.threads = cpu.context_max = cpu.rows_max = 1;
        cpu.isa = CPU_SCALAR;
        cpu.expert_width_max = cpu.cols_max = 64;
        EXPECT_EQ(cpu_backend_open(&backend_, &cpu, nullptr), STATUS_OK);
    }
    ~Pages() override
    {
        landing_close(landing_);
        backend_close(backend_);
    }
    enum status open(const struct backend *backend)
    {
        enum status status = landing_open(&landing_, checkpoint_, &plan_, &error_);
        return status == STATUS_OK ? landing_settle(landing_, checkpoint_, backend, &error_)
                                   : status;
    }
    struct backend *backend_ = nullptr;
    struct landing *landing_ = nullptr;
};

TEST_F(Pages, PlainOnesLandAsTheyAre)
{
    make(toy::Model());
    ASSERT_EQ(plan(), STATUS_OK) << error_.text;
    ASSERT_EQ(open(backend_), STATUS_OK) << error_.text;
    EXPECT_EQ(landing_of_pages(landing_).part, nullptr);
}

/* Each part of each page by its own layer's form: here the types differ from layer to layer. */
TEST_F(Pages, LandEncoded)
{
    toy::Model m;
    m.hidden = 64;
    m.width = 32;
    m.expert = {"F32", "BF16"};
    make(m);
    ASSERT_EQ(plan(DTYPE_Q8_0), STATUS_OK) << error_.text;
    ASSERT_EQ(open(backend_), STATUS_OK) << error_.text;
    struct page_landing landing = landing_of_pages(landing_);
    ASSERT_NE(landing.part, nullptr);
    for (page_id page : {0u, m.experts, 2 * m.experts + 3}) {
        struct expert_tensors expert;
        uint32_t layer = page / m.experts;
        ASSERT_EQ(landing_expert_tensors(checkpoint_, &plan_, backend_, layer, &expert, &error_),
                  STATUS_OK);
        const struct page *p = store_page(store_, page);
        const struct tensor *tensors[] = {&expert.gate, &expert.up, &expert.down};
        for (uint32_t part = 0; part < 3; part++) {
            const struct tensor *t = tensors[part];
            EXPECT_EQ(t->dtype, DTYPE_Q8_0);
            EXPECT_EQ(t->rows, part == 2 ? m.hidden : m.width);
            EXPECT_EQ(t->cols, part == 2 ? m.width : m.hidden);
            ASSERT_EQ(p->part[part].slot_bytes, bytes_of(DTYPE_Q8_0, m.hidden * m.width));
            std::string file = test_support::read_file(store_path(store_, p->part[part].file));
            std::vector<uint8_t> to(p->part[part].slot_bytes);
            const uint8_t *from = (const uint8_t *)file.data() + p->part[part].offset;
            landing.part(landing.self, page, part, to.data(), from);
            enum dtype plain = layer % 2 ? DTYPE_BF16 : DTYPE_F32;
            std::vector<float> want(m.hidden * m.width), row(t->cols);
            dtype_decode(plain, from, want.data(), want.size());
            for (uint32_t r = 0; r < t->rows; r++) {
                if (t->layout == LAYOUT_PACKED)
                    packed_decode_row(t->dtype, to.data(), t->rows, t->cols, r, row.data());
                else
                    dtype_decode(t->dtype, &to[r * bytes_of(t->dtype, t->cols)], row.data(),
                                 t->cols);
                for (uint32_t i = 0; i < t->cols; i++) /* half a step of a block up to 1 */
                    ASSERT_NEAR(row[i], want[r * t->cols + i], 0.6 / 127);
            }
        }
    }
}

TEST_F(Pages, AFormatWithoutKernelsIsRefusedByName)
{
    make(toy::Model());
    ASSERT_EQ(plan(), STATUS_OK) << error_.text;
    struct backend_ops ops = *backend_->ops;
    ops.name = "toy";
    ops.layout = [](const struct backend *, enum dtype dtype, enum weight_layout *) {
        return dtype != DTYPE_F32;
    };
    struct backend other = {&ops};
    EXPECT_EQ(open(&other), STATUS_UNSUPPORTED);
    EXPECT_TRUE(says("F32"));
    EXPECT_TRUE(says("toy kernels"));
    landing_close(nullptr);
}

} // namespace
