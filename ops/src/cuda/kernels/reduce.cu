// Sums and maxima over lanes, in an order that depends on nothing but their number.

__device__ inline double joined(double a, double b, bool largest) { return largest ? (b > a ? b : a) : a + b; }

// Over the 32 lanes of a warp, which all get the same.
__device__ inline double over_warp(double x, bool largest) {
    for (int apart = 16; apart > 0; apart /= 2) x = joined(x, __shfl_xor_sync(0xffffffffu, x, apart), largest);
    return x;
}

// Over all threads of a block, K values at once. Every thread of the block calls it.
template <int K> __device__ void over_block(double (&x)[K], bool largest) {
    __shared__ double space[K][32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    for (int k = 0; k < K; k++) x[k] = over_warp(x[k], largest);
    __syncthreads();
    if (lane == 0)
        for (int k = 0; k < K; k++) space[k][warp] = x[k];
    __syncthreads();
    for (int k = 0; k < K; k++) x[k] = over_warp(lane < warps ? space[k][lane] : largest ? -INFINITE : 0.0, largest);
}

// Over the lanes of a row: a warp or a block.
template <int K> __device__ inline void over_row(double (&x)[K], bool largest) {
#if LANES == 32
    for (int k = 0; k < K; k++) x[k] = over_warp(x[k], largest);
#else
    over_block(x, largest);
#endif
}

__device__ inline MATRIX highest_of_row(MATRIX x) {
    double one[1] = {(double)x};
    over_row(one, true);
    return (MATRIX)one[0];
}

// Rows that count, and their weights. One block.
extern "C" __global__ void __launch_bounds__(1024) batch(Args a) {
    double sums[2] = {0, 0};
    for (i64 row = threadIdx.x; row < a.n; row += blockDim.x) {
        i64 label = class_of(a, row);
        if (label == -1) continue;
        double weight = a.class_weights && label >= 0 ? (double)a.class_weights[label] : 1.0;
        sums[0] += 1;
        sums[1] += label < 0 ? NOT_A_NUMBER : weight;
    }
    over_block(sums, false);
    if (threadIdx.x == 0) {
        a.work[0] = sums[0];
        a.work[1] = sums[1];
    }
}

// The loss from the shares of the blocks. One block.
extern "C" __global__ void __launch_bounds__(1024) total(Args a) {
    double sum[1] = {0};
    for (i64 block = threadIdx.x; block < a.blocks; block += blockDim.x) sum[0] += a.work[2 + block];
    over_block(sum, false);
    const double count = NEEDS_BATCH ? a.work[0] : (double)a.n;
    if (threadIdx.x == 0 && a.loss) a.loss[0] = (MATRIX)(IS_MEAN && count == 0 ? NOT_A_NUMBER : sum[0]);
}
