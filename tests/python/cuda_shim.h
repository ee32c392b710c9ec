// CUDA's words for a C++ compiler; a block runs as `fake_cuda/block.h` says.
#include <math.h>
#include "fake_cuda/block.h"

#define __global__
#define __device__
#define __shared__ static
#define __align__(bytes) alignas(bytes)
#define __launch_bounds__(threads)
#define HALVES
#define CACHE static Vector cache[232448 / sizeof(Vector)];

struct uint4 {
    alignas(16) unsigned x;
    unsigned y, z, w;
};

template <class T> static T __shfl_xor_sync(unsigned, T x, int apart) {
    return exchanged_value(x, (threadIdx.x % 32) ^ apart);
}
template <class T> static T __shfl_sync(unsigned, T x, int from) { return exchanged_value(x, from); }
template <class T> static T __ldcs(const T *from) { return *from; }
template <class T> static void __stcs(T *to, T value) { *to = value; }
template <class T> static void __stwb(T *to, T value) { *to = value; }

static double __longlong_as_double(long long bits) { double x; memcpy(&x, &bits, 8); return x; }
static float __uint_as_float(unsigned bits) { float x; memcpy(&x, &bits, 4); return x; }
static unsigned __float_as_uint(float x) { unsigned bits; memcpy(&bits, &x, 4); return bits; }
static float widen_half(unsigned short bits) { _Float16 x; memcpy(&x, &bits, 2); return (float)x; }
static unsigned short narrow_half(float x) { _Float16 y = (_Float16)x; unsigned short bits; memcpy(&bits, &y, 2); return bits; }
