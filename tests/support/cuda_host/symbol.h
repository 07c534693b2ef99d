/* Names of kernels and their static shared memory, from the program's own symbol table. A
 * __shared__ variable is a static local, whose symbol carries its kernel's name in front: so the
 * double can count it against the device's limit and fill it with garbage between blocks. */
#ifndef CUDA_HOST_SYMBOL_H
#define CUDA_HOST_SYMBOL_H

#include <string>
#include <vector>

#include "tests/support/cuda_host/block.h"

namespace cuda_host {

/* As written in the source; its address when the program was stripped. */
std::string symbol_name(const void *function);
/* The writable static locals of `function`. */
std::vector<struct shared_range> symbol_statics(const void *function);

} // namespace cuda_host

#endif
