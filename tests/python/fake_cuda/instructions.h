// What an instruction of PTX is on the host, where it is no operator of C++; and a kernel's run. `ptx.py` writes the rest.
#include <math.h>
#include <stdint.h>
#include <stdio.h>

#include <type_traits>

#include "block.h"
#include "kernel.h"

#define EACH static inline __attribute__((always_inline))

// The bits of a register as a type; lower ones of a wider register.
template <class T, class R> EACH T as(R bits) {
    if constexpr (sizeof(T) == sizeof(R)) {
        T x;
        memcpy(&x, &bits, sizeof x);
        return x;
    } else {
        static_assert(std::is_integral_v<T> && std::is_integral_v<R>);
        return (T)bits;
    }
}

template <class R, class T> EACH void set(R &to, T x) {
    if constexpr (std::is_floating_point_v<T>) {
        static_assert(sizeof(R) == sizeof(T));
        memcpy(&to, &x, sizeof x);
    } else {
        to = (R)x;
    }
}

// Memory. A device stops a kernel that reads or writes where there is nothing, or off the alignment of what it reads.
static const char *argument;
static unsigned argument_bytes, shared_bytes;
alignas(16) static char shared_memory[232448];

[[noreturn]] static void stop(const char *space, uint64_t at, unsigned bytes) {
    fprintf(stderr, "fake CUDA: thread %u of block %u: no access to %u bytes at %s %#llx\n", threadIdx.x, blockIdx.x, bytes,
            space, (unsigned long long)at);
    abort();
}

EACH char *global_at(uint64_t at, unsigned bytes) {
    if (at < 1 << 16 || at % bytes) stop("global", at, bytes);
    return (char *)at;
}

EACH char *param_at(uint64_t at, unsigned bytes) {
    const uint64_t from = at - (uint64_t)argument;
    if (at % bytes || from + bytes > argument_bytes) stop("parameter", from, bytes);
    return (char *)at;
}

EACH char *shared_at(uint64_t at, unsigned bytes) {
    if (at % bytes || at + bytes > shared_bytes) stop("shared", at, bytes);
    return shared_memory + at;
}

// All lanes of the warp take part, here and on a device.
EACH void whole_warp(uint32_t limits, uint32_t members) {
    if (limits != 31 || members != ~0u) stop("warp", members, limits);
}

EACH uint32_t shuffled_bfly(uint32_t x, uint32_t apart, uint32_t limits, uint32_t members) {
    whole_warp(limits, members);
    return exchanged_value(x, (threadIdx.x % 32) ^ apart);
}

EACH uint32_t shuffled_idx(uint32_t x, uint32_t from, uint32_t limits, uint32_t members) {
    whole_warp(limits, members);
    return exchanged_value(x, from % 32);
}

template <class T> EACH T shl(T x, uint32_t by) { return by < 8 * sizeof(T) ? x << by : 0; }
template <class T> EACH T shr(T x, uint32_t by) {
    const uint32_t most = 8 * sizeof(T) - 1;
    return by <= most ? x >> by : std::is_signed_v<T> ? x >> most : 0;
}

// Bits of `x` in the place of bits of `into`.
template <class T> EACH T inserted(T x, T into, uint32_t place, uint32_t count) {
    const T mask = shl<T>(shl<T>(1, count) - 1, place);
    return (into & ~mask) | (shl<T>(x, place) & mask);
}

EACH float abs_(float x) { return fabsf(x); }
EACH double abs_(double x) { return fabs(x); }
EACH int32_t abs_(int32_t x) { return x < 0 ? (int32_t)(0u - (uint32_t)x) : x; }
// Of two floats the one that is a number.
template <class T> EACH T min_(T a, T b) { return std::is_integral_v<T> ? (a < b ? a : b) : (T)fmin(a, b); }
template <class T> EACH T max_(T a, T b) { return std::is_integral_v<T> ? (a > b ? a : b) : (T)fmax(a, b); }
template <class T> EACH T mad_(T a, T b, T c) { return (T)((uint64_t)a * (uint64_t)b + (uint64_t)c); }
EACH float sqrt_(float x) { return sqrtf(x); }
EACH double sqrt_(double x) { return sqrt(x); }
EACH float fma_(float a, float b, float c) { return fmaf(a, b, c); }
EACH double fma_(double a, double b, double c) { return fma(a, b, c); }

// Rounded down: the product is exact in float64, and what the sum loses is found again.
EACH float fma_rm_(float a, float b, float c) {
    const double product = (double)a * b, sum = product + c, part = sum - product;
    const double lost = (product - (sum - part)) + (c - part);
    const float near = (float)sum;
    return near > sum || (near == sum && lost < 0) ? nextafterf(near, -INFINITY) : near;
}

EACH float saturated(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }
EACH float flushed(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x; }

// Two units in the last place, says the manual of PTX; one is added here.
EACH float ex2_approx_ftz_(float x) {
    const float near = flushed(exp2f(flushed(x)));
    return near == 0 || !isfinite(near) ? near : nextafterf(near, INFINITY);
}

// The upper half of the number, which the device's own code refines.
EACH double rcp_approx_ftz_(double x) {
    if (fabs(x) < 0x1p-1022) return copysign(INFINITY, x);
    return as<double>(as<uint64_t>(1 / x) >> 32 << 32);
}

EACH float widen_half(uint16_t bits) { return (float)as<_Float16>(bits); }
EACH uint16_t narrow_half(float x) { return as<uint16_t>((_Float16)x); }



// A launch, one block after the other. Shared memory holds what is no number before a block writes it.
extern "C" void run_kernel(const Kernel *kernel, const void *parameter, unsigned blocks, unsigned threads, unsigned shared) {
    argument = (const char *)parameter;
    argument_bytes = kernel->parameter;
    shared_bytes = kernel->shared + shared;
    work = kernel->body;
    for (unsigned block = 0; block < blocks; block++) {
        memset(shared_memory, 0xff, shared_bytes);
        run_block(block, threads, block % 2);
    }
}
