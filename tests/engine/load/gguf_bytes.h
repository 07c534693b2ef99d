/* GGUF files byte by byte, for tests of readers: nothing here shares code with the writer, and
 * nothing is checked, so that every field can be wrong. */
#ifndef MOERING_TESTS_ENGINE_LOAD_GGUF_BYTES_H
#define MOERING_TESTS_ENGINE_LOAD_GGUF_BYTES_H

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace gguf_bytes {

template <typename T> std::string raw(T value)
{
    return std::string(reinterpret_cast<const char *>(&value), sizeof value);
}

inline std::string text(const std::string &s)
{
    return raw<uint64_t>(s.size()) + s;
}

struct Tensor {
    std::string name;
    std::vector<uint64_t> dim; /* outermost first */
    uint32_t type;
    std::string data;
    int64_t offset = -1; /* -1: behind the one before */
};

struct File {
    uint32_t version = 3, alignment = 32;
    std::string keys;
    uint64_t key_count = 0;
    std::vector<Tensor> tensors;
    std::string magic = "GGUF";
    uint64_t claim_tensors = 0, claim_keys = 0; /* added to the counts */

    File &key(const std::string &name, uint32_t type, const std::string &value)
    {
        keys += text(name) + raw(type) + value;
        key_count++;
        return *this;
    }
    File &u32(const std::string &name, uint32_t v) { return key(name, 4, raw(v)); }
    File &f32(const std::string &name, float v) { return key(name, 6, raw(v)); }
    File &boolean(const std::string &name, bool v) { return key(name, 7, raw<uint8_t>(v)); }
    File &string(const std::string &name, const std::string &v) { return key(name, 8, text(v)); }
    File &array(const std::string &name, uint32_t type, uint64_t count, const std::string &values)
    {
        return key(name, 9, raw(type) + raw(count) + values);
    }
    File &strings(const std::string &name, const std::vector<std::string> &values)
    {
        std::string all;
        for (const std::string &v : values)
            all += text(v);
        return array(name, 8, values.size(), all);
    }
    File &u32s(const std::string &name, const std::vector<uint32_t> &values)
    {
        std::string all;
        for (uint32_t v : values)
            all += raw(v);
        return array(name, 4, values.size(), all);
    }
    File &tensor(const std::string &name, const std::vector<uint64_t> &dim, uint32_t type,
                 const std::string &data, int64_t offset = -1)
    {
        tensors.push_back({name, dim, type, data, offset});
        return *this;
    }
    /* An F32 tensor of zeros. */
    File &zeros(const std::string &name, const std::vector<uint64_t> &dim)
    {
        uint64_t values = 1;
        for (uint64_t d : dim)
            values *= d;
        return tensor(name, dim, 0, std::string(4 * values, '\0'));
    }

    std::string header() const
    {
        std::string out = magic + raw(version) + raw<uint64_t>(tensors.size() + claim_tensors) +
                          raw<uint64_t>(key_count + claim_keys) + keys;
        uint64_t next = 0;
        for (const Tensor &t : tensors) {
            out += text(t.name) + raw<uint32_t>(static_cast<uint32_t>(t.dim.size()));
            for (size_t i = t.dim.size(); i-- > 0;)
                out += raw<uint64_t>(t.dim[i]);
            uint64_t offset = t.offset < 0 ? next : static_cast<uint64_t>(t.offset);
            out += raw(t.type) + raw(offset);
            next = (offset + t.data.size() + alignment - 1) / alignment * alignment;
        }
        return out;
    }
    std::string bytes() const
    {
        std::string out = header();
        for (const Tensor &t : tensors) {
            out.append((alignment - out.size() % alignment) % alignment, '\0');
            out += t.data;
        }
        return out;
    }
};

} // namespace gguf_bytes

#endif
