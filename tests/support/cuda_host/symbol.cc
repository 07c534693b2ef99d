/* See symbol.h. The table read is .symtab, which holds local symbols too; it is gone from a
 * stripped program, which then only loses these services. */
#include "tests/support/cuda_host/symbol.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cuda_host {

namespace {

struct image {
    const unsigned char *bytes = nullptr;
    size_t size = 0;
    const ElfW(Sym) *symbols = nullptr;
    size_t count = 0;
    const char *names = nullptr;
    const ElfW(Shdr) *sections = nullptr;
    size_t section_count = 0;
    uintptr_t slide = 0; /* address in memory less address in the file */
};

bool map_file(struct image *image, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    if (fstat(fd, &st) == 0 && st.st_size > (off_t)sizeof(ElfW(Ehdr))) {
        void *mapped = mmap(nullptr, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (mapped != MAP_FAILED) {
            image->bytes = static_cast<const unsigned char *>(mapped);
            image->size = (size_t)st.st_size;
        }
    }
    close(fd);
    return image->bytes;
}

void image_close(struct image *image)
{
    if (image->bytes)
        munmap(const_cast<unsigned char *>(image->bytes), image->size);
    *image = {};
}

/* The symbol table of the file that holds `function`. */
bool image_open(struct image *image, const void *function)
{
    Dl_info info;
    if (!dladdr(function, &info))
        return false;
    struct stat st;
    bool library =
        info.dli_fname && strstr(info.dli_fname, ".so") && stat(info.dli_fname, &st) == 0;
    if (!map_file(image, library ? info.dli_fname : "/proc/self/exe"))
        return false;
    const ElfW(Ehdr) *header = reinterpret_cast<const ElfW(Ehdr) *>(image->bytes);
    image->sections = reinterpret_cast<const ElfW(Shdr) *>(image->bytes + header->e_shoff);
    image->section_count = header->e_shnum;
    image->slide = header->e_type == ET_DYN ? reinterpret_cast<uintptr_t>(info.dli_fbase) : 0;
    for (size_t i = 0; i < image->section_count; i++) {
        const ElfW(Shdr) *section = &image->sections[i];
        if (section->sh_type != SHT_SYMTAB)
            continue;
        image->symbols = reinterpret_cast<const ElfW(Sym) *>(image->bytes + section->sh_offset);
        image->count = section->sh_size / sizeof(ElfW(Sym));
        image->names = reinterpret_cast<const char *>(image->bytes +
                                                      image->sections[section->sh_link].sh_offset);
    }
    if (!image->symbols)
        image_close(image);
    return image->symbols;
}

const char *mangled_name(const struct image *image, const void *function)
{
    uintptr_t address = reinterpret_cast<uintptr_t>(function) - image->slide;
    for (size_t i = 0; i < image->count; i++)
        if (ELF64_ST_TYPE(image->symbols[i].st_info) == STT_FUNC &&
            image->symbols[i].st_value == address)
            return image->names + image->symbols[i].st_name;
    return nullptr;
}

bool writable(const struct image *image, const ElfW(Sym) * symbol)
{
    return symbol->st_shndx < image->section_count &&
           image->sections[symbol->st_shndx].sh_flags & SHF_WRITE;
}

} // namespace

std::string symbol_name(const void *function)
{
    struct image image;
    char address[32];
    snprintf(address, sizeof address, "%p", function);
    std::string name = address;
    if (image_open(&image, function)) {
        if (const char *mangled = mangled_name(&image, function)) {
            int status = 0;
            char *plain = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
            name = plain ? plain : mangled;
            free(plain);
        }
        image_close(&image);
    }
    return name;
}

std::vector<struct shared_range> symbol_statics(const void *function)
{
    struct image image;
    std::vector<struct shared_range> found;
    if (!image_open(&image, function))
        return found;
    const char *mangled = mangled_name(&image, function);
    if (mangled && strncmp(mangled, "_Z", 2) == 0) {
        std::string prefix = std::string("_ZZ") + (mangled + 2) + "E"; /* local entity of it */
        for (size_t i = 0; i < image.count; i++) {
            const ElfW(Sym) *symbol = &image.symbols[i];
            const char *name = image.names + symbol->st_name;
            if (ELF64_ST_TYPE(symbol->st_info) == STT_OBJECT && symbol->st_size &&
                strncmp(name, prefix.c_str(), prefix.size()) == 0 && writable(&image, symbol))
                found.push_back(
                    {reinterpret_cast<void *>(symbol->st_value + image.slide), symbol->st_size});
        }
    }
    image_close(&image);
    return found;
}

} // namespace cuda_host
