/* A folder of its own for one test, under $TMPDIR or /tmp, removed with everything in it at the
 * end. And seeded noise to fill files with. */
#ifndef MOERING_TESTS_SUPPORT_SCRATCH_H
#define MOERING_TESTS_SUPPORT_SCRATCH_H

#include <cstdint>
#include <string>
#include <vector>

namespace scratch {

class Folder {
public:
    Folder();
    ~Folder();
    Folder(const Folder &) = delete;
    Folder &operator=(const Folder &) = delete;

    const std::string &path() const { return path_; }
    /* The full name of a file in the folder, whether it is there or not. */
    std::string path(const std::string &name) const;
    /* Creates or replaces a file, and the folders on the way to it. Returns its full name. */
    std::string write(const std::string &name, const void *bytes, size_t count) const;
    std::string write(const std::string &name, const std::string &text) const;
    std::string write(const std::string &name, const std::vector<uint8_t> &bytes) const;
    /* Adds to the end of a file; readers never see bytes that were not written yet. */
    void append(const std::string &name, const void *bytes, size_t count) const;
    std::string read(const std::string &name) const;
    /* Shortens (or lengthens with zeros) a file in place. */
    void truncate(const std::string &name, uint64_t bytes) const;
    void remove(const std::string &name) const;

private:
    std::string path_;
};

/* The same bytes for the same seed on every machine. */
std::vector<uint8_t> noise(uint64_t seed, size_t count);

/* A small generator for tests: the same numbers for the same seed on every machine. */
class Random {
public:
    explicit Random(uint64_t seed) : state_(seed) {}
    uint64_t next();                                  /* 64 bits */
    uint32_t below(uint32_t limit) { return static_cast<uint32_t>(next() % limit); }
    bool chance(uint32_t percent) { return below(100) < percent; }

private:
    uint64_t state_;
};

} // namespace scratch

#endif
