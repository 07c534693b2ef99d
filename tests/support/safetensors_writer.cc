#include "tests/support/safetensors_writer.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace test_support {

static std::string shape_text(const std::vector<uint64_t> &shape)
{
    std::string text = "[";
    for (size_t i = 0; i < shape.size(); i++)
        text += (i ? "," : "") + std::to_string(shape[i]);
    return text + "]";
}

std::string safetensors_file(const std::string &header, const std::string &data)
{
    uint64_t length = header.size();
    return std::string(reinterpret_cast<const char *>(&length), sizeof length) + header + data;
}

std::string safetensors_file(const std::vector<TensorToWrite> &tensors)
{
    std::string header = "{", data;
    for (const TensorToWrite &tensor : tensors) {
        header += (header.size() > 1 ? ",\"" : "\"") + tensor.name + "\":{\"dtype\":\"" +
                  tensor.dtype + "\",\"shape\":" + shape_text(tensor.shape) +
                  ",\"data_offsets\":[" + std::to_string(data.size()) + "," +
                  std::to_string(data.size() + tensor.bytes.size()) + "]}";
        data += tensor.bytes;
    }
    header += "}";
    header.append((8 - header.size() % 8) % 8, ' ');
    return safetensors_file(header, data);
}

std::string safetensors_index(const std::vector<std::string> &shards,
                              const std::vector<std::vector<TensorToWrite>> &tensors)
{
    std::string map;
    size_t total = 0;
    for (size_t i = 0; i < shards.size(); i++)
        for (const TensorToWrite &tensor : tensors[i]) {
            map += (map.empty() ? "\"" : ",\"") + tensor.name + "\":\"" + shards[i] + "\"";
            total += tensor.bytes.size();
        }
    return "{\"metadata\":{\"total_size\":" + std::to_string(total) + "},\"weight_map\":{" + map +
           "}}";
}

void write_file(const std::string &path, const std::string &bytes)
{
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!file.flush()) {
        std::fprintf(stderr, "cannot write %s\n", path.c_str());
        std::abort();
    }
}

std::string read_file(const std::string &path)
{
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        std::fprintf(stderr, "cannot read %s\n", path.c_str());
        std::abort();
    }
    return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

ScratchFolder::ScratchFolder()
{
    const char *base = std::getenv("TMPDIR");
    std::string pattern = std::string(base && *base ? base : "/tmp") + "/moering-test-XXXXXX";
    if (!mkdtemp(pattern.data())) {
        std::perror(pattern.c_str());
        std::abort();
    }
    path_ = pattern;
}

ScratchFolder::~ScratchFolder()
{
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

} // namespace test_support
