/* Writes small safetensors files and model folders for tests: well-formed ones from a list of
 * tensors, and deliberately broken ones from a raw header. */
#ifndef MOERING_TESTS_SUPPORT_SAFETENSORS_WRITER_H
#define MOERING_TESTS_SUPPORT_SAFETENSORS_WRITER_H

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace test_support {

struct TensorToWrite {
    std::string name;
    std::string dtype;           /* as the header spells it: "F32" */
    std::vector<uint64_t> shape; /* outermost first */
    std::string bytes;           /* the data, as it lies in the file */
};

/* The bytes of an array of any plain type. */
template <typename T> std::string bytes_of(const std::vector<T> &values)
{
    return std::string(reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T));
}

/* Eight bytes of length, the header as given, the data as given: nothing is checked or padded. */
std::string safetensors_file(const std::string &header, const std::string &data);
/* A well-formed file: the tensors one after the other, the header padded to a multiple of 8. */
std::string safetensors_file(const std::vector<TensorToWrite> &tensors);
/* {"metadata": ..., "weight_map": {tensor: shard}} for shards[i] holding tensors[i]. */
std::string safetensors_index(const std::vector<std::string> &shards,
                              const std::vector<std::vector<TensorToWrite>> &tensors);

/* Overwrites; the program ends with a message if it cannot. */
void write_file(const std::string &path, const std::string &bytes);
std::string read_file(const std::string &path);

/* A folder of its own under $TMPDIR, removed with everything in it. */
class ScratchFolder
{
  public:
    ScratchFolder();
    ~ScratchFolder();
    ScratchFolder(const ScratchFolder &) = delete;
    ScratchFolder &operator=(const ScratchFolder &) = delete;

    const std::string &path() const { return path_; }
    std::string file(const std::string &name) const { return path_ + "/" + name; }
    void write(const std::string &name, const std::string &bytes) const
    {
        write_file(file(name), bytes);
    }

  private:
    std::string path_;
};

} // namespace test_support
#endif
