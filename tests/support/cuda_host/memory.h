/* Device memory and page-locked host memory.
 *
 * Device memory is one reserved stretch of addresses. Outside operations the host cannot touch it
 * (PROT_NONE): a host function that follows a device pointer dies there and then. Allocations are
 * separated by red zones, which AddressSanitizer guards; without it they hold a pattern that is
 * checked when the allocation is freed. */
#ifndef CUDA_HOST_MEMORY_H
#define CUDA_HOST_MEMORY_H

#include <stddef.h>
#include <string>
#include <vector>

namespace cuda_host {

enum memory_place { MEMORY_PAGEABLE, MEMORY_PINNED, MEMORY_DEVICE, MEMORY_BAD };

/* Where [pointer, pointer + bytes) lies: BAD if it begins in device memory and is not inside one
 * allocation, PINNED if all of it is page-locked. Lock held, as for all of these. */
enum memory_place memory_place_of(const void *pointer, size_t bytes);
/* Lets operations touch device memory, until memory_close(). Cheap when already open. */
void memory_open(void);
void memory_close(void);
void memory_leaks(std::vector<std::string> *leaks);
void memory_reset(void);

} // namespace cuda_host

#endif
