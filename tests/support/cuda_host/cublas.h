/* Handles of cuBLAS that are open, for the double's own controls. */
#ifndef CUDA_HOST_CUBLAS_H
#define CUDA_HOST_CUBLAS_H

#include <string>
#include <vector>

namespace cuda_host {

void cublas_leaks(std::vector<std::string> *leaks);
void cublas_reset(void);

} // namespace cuda_host

#endif
