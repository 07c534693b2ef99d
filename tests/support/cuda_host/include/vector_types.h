/* The short vectors and the launch dimensions of the device language, with the sizes and the
 * alignments that the device compiler gives them. */
#ifndef CUDA_HOST_VECTOR_TYPES_H
#define CUDA_HOST_VECTOR_TYPES_H

#define CUDA_HOST_DOUBLE 1

#define CUDA_HOST_VECTOR(type, name, align2, align4)                                               \
    struct name##1 { type x; };                                                                    \
    struct alignas(align2) name##2 { type x, y; };                                                 \
    struct name##3 { type x, y, z; };                                                              \
    struct alignas(align4) name##4 { type x, y, z, w; };                                           \
    static inline name##1 make_##name##1(type x) { return name##1 {x}; }                           \
    static inline name##2 make_##name##2(type x, type y) { return name##2 {x, y}; }                \
    static inline name##3 make_##name##3(type x, type y, type z) { return name##3 {x, y, z}; }     \
    static inline name##4 make_##name##4(type x, type y, type z, type w)                           \
    {                                                                                              \
        return name##4 {x, y, z, w};                                                               \
    }

CUDA_HOST_VECTOR(signed char, char, 2, 4)
CUDA_HOST_VECTOR(unsigned char, uchar, 2, 4)
CUDA_HOST_VECTOR(short, short, 4, 8)
CUDA_HOST_VECTOR(unsigned short, ushort, 4, 8)
CUDA_HOST_VECTOR(int, int, 8, 16)
CUDA_HOST_VECTOR(unsigned, uint, 8, 16)
CUDA_HOST_VECTOR(long long, longlong, 16, 16)
CUDA_HOST_VECTOR(unsigned long long, ulonglong, 16, 16)
CUDA_HOST_VECTOR(float, float, 8, 16)
CUDA_HOST_VECTOR(double, double, 16, 16)
#undef CUDA_HOST_VECTOR

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned vx = 1, unsigned vy = 1, unsigned vz = 1) : x(vx), y(vy), z(vz) {}
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
    constexpr operator uint3() const { return uint3{x, y, z}; }
};

#endif
