/* What the tests of CUDA attention share: sequences whose keys and values lie in shuffled blocks,
 * in host and in device memory, and batches of their rows, which the scalar backend attends with
 * too. What nothing was written to is NaN in the blocks and no block at all in the tables. */
#ifndef MOERING_TESTS_ENGINE_BACKEND_CUDA_ATTENTION_CHECKS_H
#define MOERING_TESTS_ENGINE_BACKEND_CUDA_ATTENTION_CHECKS_H

#include <algorithm>

#include "tests/engine/backend/cuda/cuda_checks.h"

/* Rows of a batch: (sequence, position). */
typedef std::vector<std::pair<uint32_t, uint32_t>> RowList;

struct AttentionShape {
    uint32_t heads, kv_heads, dim;
};

inline std::ostream &operator<<(std::ostream &out, const AttentionShape &shape)
{
    return out << shape.heads << " heads on " << shape.kv_heads << " of " << shape.dim;
}

struct AttentionRun {
    uint32_t window = 0;
    uint32_t context_max = 0; /* 0: as long as the longest sequence */
    float scale = 0.0f;       /* 0: 1 / sqrt(dim) */
};

typedef void (*AttentionLauncher)(cudaStream_t, const struct cuda_attention_args *);

struct PagedSequences {
    Backend cpu;
    AttentionShape shape;
    struct kv_layer host;
    struct kv_layer device;
    uint32_t longest = 1;
    std::vector<uint8_t> key_bytes, value_bytes;
    std::vector<std::vector<uint32_t>> tables; /* [sequence] */
    std::unique_ptr<DeviceList<uint8_t>> device_keys, device_values;

    /* `skip` bytes misalign what the device reads. */
    PagedSequences(Noise &noise, enum dtype dtype, AttentionShape shape_,
                   const std::vector<uint32_t> &lengths, uint32_t shuffle_seed, size_t skip = 0)
        : shape(shape_)
    {
        std::vector<uint32_t> blocks;
        for (uint32_t length : lengths) {
            longest = std::max(longest, length);
            for (uint32_t i = 0; i < blocks_of(length); i++)
                blocks.push_back((uint32_t)blocks.size());
        }
        cpu = open_backend(CPU_SCALAR, 1, longest, 512, 8192);
        std::shuffle(blocks.begin(), blocks.end(), std::mt19937(shuffle_seed));
        size_t bytes = blocks.size() * shape.kv_heads * KV_BLOCK_TOKENS * shape.dim *
                       dtype_info(dtype)->block_bytes;
        key_bytes.assign(bytes, 0xff);
        value_bytes.assign(bytes, 0xff);
        host = {key_bytes.data(), value_bytes.data(), dtype, shape.kv_heads, shape.dim};
        for (uint32_t length : lengths) {
            tables.emplace_back(blocks.end() - blocks_of(length), blocks.end());
            blocks.resize(blocks.size() - blocks_of(length));
            std::vector<float> keys = noise.list((size_t)length * shape.kv_heads * shape.dim);
            std::vector<float> values = noise.list(keys.size());
            std::vector<struct row_place> places;
            for (uint32_t p = 0; p < length; p++)
                places.push_back({tables.back().data(), p});
            cpu->ops->kv_write(cpu.get(), host, keys.data(), values.data(), places.data(), length);
        }
        cpu->ops->sync(cpu.get());
        device_keys = std::make_unique<DeviceList<uint8_t>>(key_bytes, skip);
        device_values = std::make_unique<DeviceList<uint8_t>>(value_bytes, skip);
        device = {device_keys->data, device_values->data, dtype, shape.kv_heads, shape.dim};
    }
    static uint32_t blocks_of(uint32_t length)
    {
        return (length + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS;
    }
    float scale_of(const AttentionRun &run) const
    {
        return run.scale != 0.0f ? run.scale : 1.0f / std::sqrt((float)shape.dim);
    }
    std::vector<float> truth(const RowList &rows, const std::vector<float> &q,
                             const AttentionRun &run) const
    {
        std::vector<struct row_place> places;
        for (auto [sequence, position] : rows)
            places.push_back({tables[sequence].data(), position});
        std::vector<float> out(q.size(), NAN);
        struct attention_args args = {
            out.data(),    q.data(),   host, places.data(), (uint32_t)rows.size(), shape.heads,
            scale_of(run), run.window,
        };
        cpu->ops->attention(cpu.get(), &args);
        cpu->ops->sync(cpu.get());
        return out;
    }
};

/* A batch in device memory with everything that a launcher is given. */
struct DeviceBatch {
    DeviceList<float> out, q;
    DeviceList<uint32_t> positions, table_of, tables;
    DeviceList<float> scratch;
    struct cuda_attention_args args = {};

    DeviceBatch(const PagedSequences &s, const RowList &rows, const std::vector<float> &values,
                const AttentionRun &run)
        : out(std::vector<float>(values.size(), NAN)), q(values), positions(column(rows, false)),
          table_of(column(rows, true)), tables(all_tables(s)),
          scratch(std::vector<float>(scratch_bytes(s, rows, run) / sizeof(float), NAN))
    {
        args.out = out;
        args.q = q;
        args.kv = s.device;
        args.at = {nullptr, positions, table_of, tables, stride(s)};
        args.rows = (uint32_t)rows.size();
        args.heads = s.shape.heads;
        args.scale = s.scale_of(run);
        args.window = run.window;
        args.context_max = run.context_max > 0 ? run.context_max : s.longest;
        args.scratch = scratch;
    }
    /* Sequence s has the table of that number plus one; table 0 belongs to nobody. */
    static std::vector<uint32_t> column(const RowList &rows, bool sequences)
    {
        std::vector<uint32_t> list;
        for (auto [sequence, position] : rows)
            list.push_back(sequences ? sequence + 1 : position);
        return list;
    }
    static uint32_t stride(const PagedSequences &s)
    {
        return PagedSequences::blocks_of(s.longest) + 1;
    }
    static std::vector<uint32_t> all_tables(const PagedSequences &s)
    {
        std::vector<uint32_t> list((s.tables.size() + 1) * stride(s), UINT32_MAX / 2);
        for (size_t i = 0; i < s.tables.size(); i++)
            std::copy(s.tables[i].begin(), s.tables[i].end(), list.begin() + (i + 1) * stride(s));
        return list;
    }
    static size_t scratch_bytes(const PagedSequences &s, const RowList &rows,
                                const AttentionRun &run)
    {
        return cuda_attention_scratch((uint32_t)rows.size(), s.shape.heads, s.shape.dim,
                                      run.context_max > 0 ? run.context_max : s.longest);
    }
};

inline std::vector<float> attend(AttentionLauncher launch, const PagedSequences &s,
                                 const RowList &rows, const std::vector<float> &q,
                                 const AttentionRun &run)
{
    Stream stream;
    DeviceBatch batch(s, rows, q, run);
    launch(stream, &batch.args);
    return batch.out.get(stream);
}

inline std::vector<float> noise_q(Noise &noise, const PagedSequences &s, const RowList &rows,
                                  float scale = 2.0f)
{
    return noise.list(rows.size() * s.shape.heads * s.shape.dim, scale);
}

/* The first value that is too far away, in words; empty: none. */
inline std::string far_from(const std::vector<float> &got, const std::vector<float> &want,
                            double tolerance, uint32_t width)
{
    if (got.size() != want.size())
        return "sizes differ";
    for (size_t i = 0; i < got.size(); i++) {
        if (!(std::fabs((double)got[i] - want[i]) <= tolerance))
            return "row " + std::to_string(i / width) + " value " + std::to_string(i % width) +
                   ": " + std::to_string(got[i]) + " for " + std::to_string(want[i]);
    }
    return "";
}

#endif
