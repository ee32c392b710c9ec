// A block of threads on the host, as what it is on a device: every thread is a fiber, which gives way where it waits for its
// block or its warp, so that barriers, exchanges and shared memory do what they do on a device. Blocks run one after the
// other. `run_block` can run a block's threads in either order: a result that depends on it is a race.
#pragma once
#include <setjmp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

struct Index {
    unsigned x;
};
static Index threadIdx, blockDim, blockIdx;

enum { MOST = 1024, WARPS = MOST / 32, STACK = 256 << 10 };
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
