/* make_float4() and its kin stand beside their types. */
#include "vector_types.h"
