/* threadIdx and its kin stand with the rest of the device language. */
#include "cuda_host_device.h"
