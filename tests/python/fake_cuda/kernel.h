// A kernel of a module, as the fake driver finds it by its name.
#pragma once

struct Kernel {
    void (*body)();
    // Bytes of its parameter; most threads of a block; bytes of shared memory that the module's kernels declare.
    unsigned parameter, threads, shared;
};
