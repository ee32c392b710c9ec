// CUDA's words for a C++ compiler. A block runs as what it is: every thread is a fiber, which gives way where it waits for
// its block or its warp, so that barriers, shuffles and shared memory do what they do on a device. Blocks run one after
// the other. `launch` can run a block's threads in either order: a result that depends on it is a race.
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

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
struct Index {
    unsigned x;
};
static Index threadIdx, blockDim, blockIdx;

enum { MOST = 1024, WARPS = MOST / 32, STACK = 64 << 10 };
// A context is where a fiber starts; from there on it jumps, which takes no call of the system.
struct Fiber {
    ucontext_t context;
    jmp_buf place;
    bool started, done;
    unsigned warp_waits;
};
static Fiber fibers[MOST];
static jmp_buf scheduler;
static unsigned block_arrived, block_passed, warp_arrived[WARPS], warp_passed[WARPS];
static unsigned long long exchanged[2][MOST];

static void give_way() {
    if (!_setjmp(fibers[threadIdx.x].place)) _longjmp(scheduler, 1);
}

static void resume(Fiber &fiber) {
    if (_setjmp(scheduler)) return;
    if (fiber.started) _longjmp(fiber.place, 1);
    fiber.started = true;
    setcontext(&fiber.context);
}

static void wait_for(unsigned *arrived, unsigned *passed, unsigned members) {
    const unsigned before = *passed;
    if (++*arrived == members) {
        *arrived = 0;
        ++*passed;
    }
    while (*passed == before) give_way();
}

static void __syncthreads() { wait_for(&block_arrived, &block_passed, blockDim.x); }

// Two places, so that a fast lane's next value does not overwrite what a slow lane has not read.
static unsigned long long exchange(unsigned long long bits, int from) {
    const unsigned thread = threadIdx.x, warp = thread / 32;
    unsigned long long *place = exchanged[fibers[thread].warp_waits++ % 2];
    place[thread] = bits;
    wait_for(&warp_arrived[warp], &warp_passed[warp], 32);
    return place[warp * 32 + from];
}

template <class T> static T exchanged_value(T x, int from) {
    unsigned long long bits = 0;
    memcpy(&bits, &x, sizeof x);
    bits = exchange(bits, from);
    memcpy(&x, &bits, sizeof x);
    return x;
}

template <class T> static T __shfl_xor_sync(unsigned, T x, int apart) {
    return exchanged_value(x, (threadIdx.x % 32) ^ apart);
}
template <class T> static T __shfl_sync(unsigned, T x, int from) { return exchanged_value(x, from); }
template <class T> static T __ldcs(const T *from) { return *from; }
template <class T> static void __stcs(T *to, T value) { *to = value; }

static double __longlong_as_double(long long bits) { double x; memcpy(&x, &bits, 8); return x; }
static float __uint_as_float(unsigned bits) { float x; memcpy(&x, &bits, 4); return x; }
static unsigned __float_as_uint(float x) { unsigned bits; memcpy(&bits, &x, 4); return bits; }
static float widen_half(unsigned short bits) { _Float16 x; memcpy(&x, &bits, 2); return (float)x; }
static unsigned short narrow_half(float x) { _Float16 y = (_Float16)x; unsigned short bits; memcpy(&bits, &y, 2); return bits; }

static void (*work)();
static void start() {
    work();
    fibers[threadIdx.x].done = true;
    give_way();
}

// Runs a block to its end; aborts where all of its threads wait for one another.
static void run_block(unsigned block, unsigned threads, bool backwards) {
    static char *stacks = (char *)malloc((size_t)MOST * STACK);
    blockIdx.x = block, blockDim.x = threads;
    for (unsigned t = 0; t < threads; t++) {
        Fiber &fiber = fibers[t];
        fiber.started = fiber.done = false, fiber.warp_waits = 0;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = stacks + (size_t)t * STACK;
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, start, 0);
    }
    for (unsigned left = threads, idle = 0; left > 0; idle++) {
        if (idle > 100000) abort();
        left = 0;
        for (unsigned k = 0; k < threads; k++) {
            threadIdx.x = backwards ? threads - 1 - k : k;
            if (fibers[threadIdx.x].done) continue;
            left++;
            resume(fibers[threadIdx.x]);
        }
    }
}
