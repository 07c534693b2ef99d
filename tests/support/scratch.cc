#include "tests/support/scratch.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <unistd.h>

namespace scratch {

namespace fs = std::filesystem;

Folder::Folder()
{
    const char *parent = getenv("TMPDIR");
    std::string pattern = std::string(parent && *parent ? parent : "/tmp") + "/moering-test-XXXXXX";
    if (!mkdtemp(pattern.data()))
        throw std::runtime_error("cannot make a scratch folder like " + pattern);
    path_ = pattern;
}

Folder::~Folder()
{
    std::error_code ignored;
    fs::remove_all(path_, ignored);
}

std::string Folder::path(const std::string &name) const
{
    return path_ + "/" + name;
}

static void put(const std::string &path, const void *bytes, size_t count, std::ios::openmode mode)
{
    std::ofstream file(path, std::ios::binary | mode);
    file.write(static_cast<const char *>(bytes), static_cast<std::streamsize>(count));
    file.close();
    if (!file)
        throw std::runtime_error("cannot write " + path);
}

std::string Folder::write(const std::string &name, const void *bytes, size_t count) const
{
    fs::create_directories(fs::path(path(name)).parent_path());
    put(path(name), bytes, count, std::ios::trunc);
    return path(name);
}

std::string Folder::write(const std::string &name, const std::string &text) const
{
    return write(name, text.data(), text.size());
}

std::string Folder::write(const std::string &name, const std::vector<uint8_t> &bytes) const
{
    return write(name, bytes.data(), bytes.size());
}

void Folder::append(const std::string &name, const void *bytes, size_t count) const
{
    put(path(name), bytes, count, std::ios::app);
}

std::string Folder::read(const std::string &name) const
{
    std::ifstream file(path(name), std::ios::binary);
    if (!file)
        throw std::runtime_error("cannot read " + path(name));
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void Folder::truncate(const std::string &name, uint64_t bytes) const
{
    fs::resize_file(path(name), bytes);
}

void Folder::remove(const std::string &name) const
{
    fs::remove(path(name));
}

/* splitmix64: every seed, 0 too, gives a sequence of full period. */
uint64_t Random::next()
{
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

std::vector<uint8_t> noise(uint64_t seed, size_t count)
{
    Random random(seed);
    std::vector<uint8_t> bytes(count);
    for (size_t i = 0; i < count; i++)
        bytes[i] = static_cast<uint8_t>(random.next() >> 32);
    return bytes;
}

} // namespace scratch
