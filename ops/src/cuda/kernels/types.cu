// What the kernels are given, and numbers. What stands above was written for the loss: types, sizes and options as macros,
// and the macro PROGRAM.

typedef long long i64;

// Pointers to the inputs and outputs, or 0; `work`: the count, the sum of weights, then a share of the loss a block; sizes
// N and D; `blocks` of the kernel `rows`; `cached`, the vectors of a row that its shared memory has room for.
struct Args {
    ARGUMENTS
};
static_assert(sizeof(Args) == 8 * ARGUMENT_COUNT, "the host passes as many words");

#define NOT_A_NUMBER __longlong_as_double(0x7ff8000000000000LL)
#define INFINITE __longlong_as_double(0x7ff0000000000000LL)
#define LOWEST ((MATRIX)-INFINITE)

// A host without these instructions brings its own.
#ifndef HALVES
__device__ inline float widen_half(unsigned short bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}

__device__ inline unsigned short narrow_half(float x) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}
#endif

__device__ inline float widen_brain(unsigned short bits) { return __uint_as_float((unsigned)bits << 16); }

// To the nearest, ties to even; NaN stays NaN.
__device__ inline unsigned short narrow_brain(float x) {
    unsigned bits = __float_as_uint(x);
    if (x != x) return (unsigned short)((bits >> 16) | 64u);
    return (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

__device__ inline MATRIX saturate(MATRIX x) {
    if (LARGEST > 0) {
        x = x > (MATRIX)LARGEST ? (MATRIX)LARGEST : x;
        x = x < -(MATRIX)LARGEST ? -(MATRIX)LARGEST : x;
    }
    return x;
}

__device__ inline double bounded(double x, double largest) {
    if (LARGEST > 0) {
        x = x > largest ? largest : x;
        x = x < -largest ? -largest : x;
    }
    return x;
}

// A class, -1 for a row that does not count, -2 for a label that is none.
__device__ inline i64 class_of(const Args& a, i64 row) {
    i64 label = (i64)a.labels[row];
    if (HAS_IGNORE && label == IGNORE) return -1;
    return label >= 0 && label < CLASSES ? label : -2;
}
