/* The backend of a build without CUDA is compiled into this program, in the place of whichever the
 * library has. */
#include "engine/backend/cuda/cuda_backend_none.c"

#include <gtest/gtest.h>

#include <string>

namespace {

TEST(CudaBackendNone, SaysThatItIsNotThere)
{
    struct cuda_backend_config config = {};
    struct error error = {};
    struct backend *backend = reinterpret_cast<struct backend *>(&error);
    EXPECT_EQ(cuda_backend_open(&backend, &config, &error), STATUS_UNSUPPORTED);
    EXPECT_EQ(backend, nullptr);
    EXPECT_NE(std::string(error.text).find("no CUDA"), std::string::npos) << error.text;
    EXPECT_EQ(cuda_backend_bytes(&config), 0u);
    enum weight_layout layout;
    EXPECT_FALSE(cuda_backend_layout(DTYPE_F32, &layout));
}

} // namespace
