// CUDA's words for a C++ compiler: a block of one thread, so that the kernels' arithmetic runs without a GPU.
#include <math.h>
#include <string.h>
#define __global__
#define __device__
#define __shared__ static
#define __syncthreads()
#define asm(...) (void)0 // half types are converted by instructions that the host has not; they are not run here
static struct { unsigned x; } threadIdx, blockDim = {1}, blockIdx;
static double __longlong_as_double(long long bits) { double x; memcpy(&x, &bits, 8); return x; }
static float __uint_as_float(unsigned bits) { float x; memcpy(&x, &bits, 4); return x; }
static unsigned __float_as_uint(float x) { unsigned bits; memcpy(&bits, &x, 4); return bits; }
