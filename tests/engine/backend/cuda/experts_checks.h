/* What the tests of the two ways to compute experts share: pages of chosen formats in device
 * memory, a step that routes rows to them, and the scalar backend's answer. */
#ifndef MOERING_TESTS_ENGINE_BACKEND_CUDA_EXPERTS_CHECKS_H
#define MOERING_TESTS_ENGINE_BACKEND_CUDA_EXPERTS_CHECKS_H

#include "tests/engine/backend/cuda/cuda_checks.h"

/* One expert's page in a slot: three matrices, each at a multiple of 64 bytes unless `skip` moves
 * the slot by so many bytes, down ending where the slot ends. */
struct Page {
    Matrix gate, up, down;
    uint32_t offset[3];
    std::unique_ptr<DeviceList<uint8_t>> slot;
    Page(Noise &noise, const struct cuda_expert_shape &s, size_t skip = 0)
        : gate(noise, s.gate, s.width, s.hidden, 0, 0.3f),
          up(noise, s.up, s.width, s.hidden, 0, 0.3f),
          down(noise, s.down, s.hidden, s.width, 0, 0.3f)
    {
        std::vector<uint8_t> bytes;
        const Matrix *parts[3] = {&gate, &up, &down};
        for (int i = 0; i < 3; i++) {
            bytes.resize((bytes.size() + 63) / 64 * 64);
            offset[i] = (uint32_t)bytes.size();
            bytes.insert(bytes.end(), parts[i]->raw.begin(), parts[i]->raw.end());
        }
        slot.reset(new DeviceList<uint8_t>(bytes, skip));
    }
};

inline std::vector<Page> make_pages(Noise &noise, const struct cuda_expert_shape &shape,
                                    uint32_t count, size_t skip = 0)
{
    std::vector<Page> pages;
    for (uint32_t i = 0; i < count; i++)
        pages.emplace_back(noise, shape, skip);
    return pages;
}

/* Rows of x for each page, laid out place by place as dispatch.h does. */
struct Step {
    struct cuda_expert_shape shape;
    const std::vector<Page> *pages;
    std::vector<float> x;
    std::vector<uint32_t> gather;
    std::vector<struct cuda_expert> experts;
    uint32_t rows_each_max = 0;
    Step(const struct cuda_expert_shape &shape_, const std::vector<Page> &pages_,
         const std::vector<float> &x_, const std::vector<std::vector<uint32_t>> &rows_of)
        : shape(shape_), pages(&pages_), x(x_)
    {
        for (size_t e = 0; e < rows_of.size(); e++) {
            const Page &page = pages_[e];
            const uint8_t *slot = page.slot->data;
            uint32_t begin = (uint32_t)gather.size();
            gather.insert(gather.end(), rows_of[e].begin(), rows_of[e].end());
            experts.push_back({slot + page.offset[0], slot + page.offset[1],
                               slot + page.offset[2], begin, (uint32_t)gather.size()});
            rows_each_max = std::max(rows_each_max, (uint32_t)rows_of[e].size());
        }
    }
    /* What the scalar backend makes of the places of expert e. */
    std::vector<float> truth(struct backend *scalar, size_t e) const
    {
        const Page &page = (*pages)[e];
        uint32_t begin = experts[e].begin, rows = experts[e].end - begin;
        std::vector<float> out((size_t)rows * shape.hidden);
        struct expert_args args = {out.data(),         x.data(),        gather.data() + begin, rows,
                                   page.gate.tensor,   page.up.tensor,  page.down.tensor};
        scalar->ops->experts(scalar, &args, 1);
        scalar->ops->sync(scalar);
        return out;
    }
};

inline Backend scalar_backend(const struct cuda_expert_shape &shape)
{
    return open_backend(CPU_SCALAR, 1, 16, std::max(shape.width, 1u), 64);
}

/* Rows 0 .. rows - 1 of x in turn, `counts[e]` of them for expert e. */
inline std::vector<std::vector<uint32_t>> deal(const std::vector<uint32_t> &counts, uint32_t rows)
{
    std::vector<std::vector<uint32_t>> rows_of;
    uint32_t next = 0;
    for (uint32_t count : counts) {
        rows_of.emplace_back();
        for (uint32_t i = 0; i < count; i++)
            rows_of.back().push_back(next++ % rows);
    }
    return rows_of;
}

#endif
