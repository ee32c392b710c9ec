// A row a block: its maximum, its sum of exponentials and its norm; the row program on one thread; its gradients.
// What stands above was written for the loss: types, sizes and options as macros, and the macro PROGRAM.

typedef long long i64;

struct Args {
    const ELEMENT* logits;
    const LABEL* labels;
    const ELEMENT* features;
    const T_LOSS_GRAD* loss_grad;
    const T_CLASS_WEIGHTS* class_weights;
    const T_LOGIT_BIAS* logit_bias;
    const T_LABEL_MARGIN* label_margin;
    const unsigned char* enabled;
    const void* parameters[PARAMETERS];
    MATRIX* loss;
    ELEMENT* logits_grad;
    ELEMENT* features_grad;
    MATRIX* row_loss;
    MATRIX* entries[ENTRIES];
    double* work; // count, sum of weights, then a share a row
    i64 n;
    i64 d;
};

#define NOT_A_NUMBER __longlong_as_double(0x7ff8000000000000LL)
#define INFINITE __longlong_as_double(0x7ff0000000000000LL)

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

__device__ double reduce(double value, bool largest) {
    __shared__ double space[512];
    __syncthreads();
    space[threadIdx.x] = value;
    __syncthreads();
    for (unsigned width = blockDim.x / 2; width > 0; width /= 2) {
        if (threadIdx.x < width) {
            double a = space[threadIdx.x], b = space[threadIdx.x + width];
            space[threadIdx.x] = largest ? (b > a ? b : a) : a + b;
        }
        __syncthreads();
    }
    return space[0];
}

// A class, -1 for a row that does not count, -2 for a label that is none.
__device__ inline i64 class_of(const Args& a, i64 row) {
    i64 label = (i64)a.labels[row];
    if (HAS_IGNORE && label == IGNORE) return -1;
    return label >= 0 && label < CLASSES ? label : -2;
}

extern "C" __global__ void batch(Args a) {
    double count = 0, weights = 0;
    for (i64 row = threadIdx.x; row < a.n; row += blockDim.x) {
        i64 label = class_of(a, row);
        if (label == -1) continue;
        count += 1;
        if (a.class_weights) weights += label < 0 ? NOT_A_NUMBER : (double)a.class_weights[label];
        else weights += label < 0 ? NOT_A_NUMBER : 1.0;
    }
    count = reduce(count, false);
    weights = reduce(weights, false);
    if (threadIdx.x == 0) {
        a.work[0] = count;
        a.work[1] = weights;
    }
}

extern "C" __global__ void total(Args a) {
    double sum = 0;
    for (i64 row = threadIdx.x; row < a.n; row += blockDim.x) sum += a.work[2 + row];
    sum = reduce(sum, false);
    if (threadIdx.x == 0) a.loss[0] = (MATRIX)(IS_MEAN && a.work[0] == 0 ? NOT_A_NUMBER : sum);
}

struct Slopes {
    double others, label, shift, by_norm;
};

// The row program: from u, h and the rest to what leaves it.
__device__ void evaluate(const Args& a, i64 row, i64 label, double u, double h, double mean_lead, Slopes* out) {
    double e = exp(-fabs(u));
    double nll = (u > 0 ? u : 0) + (u != u ? u : log1p(e));
    double p = u > 0 ? e / (1 + e) : 1 / (1 + e), q = u > 0 ? 1 / (1 + e) : e / (1 + e);
    double mean_nll = nll - mean_lead, count = a.work[0], weight_sum = a.work[1];
    double class_weight = a.class_weights && label >= 0 ? (double)a.class_weights[label] : 1.0;
    double upstream = a.loss_grad ? (double)a.loss_grad[row] : 0.0;
    bool on = a.enabled ? *a.enabled != 0 : true, masked = label < 0;
    double mask = label == -1 ? 0.0 : NOT_A_NUMBER;
    PROGRAM
}

__device__ inline MATRIX adjusted(const Args& a, MATRIX z, i64 j, MATRIX highest) {
    MATRIX x = (z - highest) * (MATRIX)SCALE;
    return a.logit_bias ? x + (MATRIX)((double)a.logit_bias[j] * SCALE) : x;
}

extern "C" __global__ void rows(Args a) {
    const i64 row = blockIdx.x, label = class_of(a, row);
    const ELEMENT* z = a.logits + row * CLASSES;
    const ELEMENT* f = IS_RAW ? a.features + row * a.d : a.features;
    double u = 0, h = 1, mean_lead = 0, total = 1;
    MATRIX highest = 0, above = 0;
    if (label >= 0) {
        double most = -INFINITE, nan = 0;
        for (i64 j = threadIdx.x; j < CLASSES; j += blockDim.x) {
            double x = (double)WIDEN(z[j]);
            if (j != label) most = x > most ? x : most, nan += x != x;
        }
        most = reduce(most, true);
        nan = reduce(nan, false);
        bool nothing = most == -INFINITE;
        highest = nothing ? (MATRIX)0 : (MATRIX)most;
        double top = 0;
        if (!IS_PLAIN) {
            top = -INFINITE;
            for (i64 j = threadIdx.x; j < CLASSES; j += blockDim.x)
                if (j != label) {
                    double x = (double)adjusted(a, WIDEN(z[j]), j, highest);
                    top = x > top ? x : top;
                }
            top = reduce(top, true);
        }
        above = nothing ? (MATRIX)0 : (MATRIX)top;
        double sum = 0, lead = 0, biases = 0;
        for (i64 j = threadIdx.x; j < CLASSES; j += blockDim.x) {
            if (IS_SMOOTHED && a.logit_bias) biases += (double)a.logit_bias[j];
            if (j == label) continue;
            MATRIX x = WIDEN(z[j]);
            sum += (double)EXP(adjusted(a, x, j, highest) - above);
            if (IS_SMOOTHED) lead += (double)(x - highest);
        }
        total = reduce(sum, false);
        double at = (double)WIDEN(z[label]);
        double bias = a.logit_bias ? (double)a.logit_bias[label] : 0.0;
        double margin = a.label_margin ? (double)a.label_margin[label] : 0.0;
        u = nothing ? (nan > 0 ? NOT_A_NUMBER : -INFINITE)
                    : SCALE * (((double)highest - at) - bias + margin) + (double)above + log(total);
        if (IS_SMOOTHED) {
            lead = reduce(lead, false) + (CLASSES - 1) * ((double)highest - at);
            mean_lead = SCALE * (lead + reduce(biases, false) - CLASSES * bias + (CLASSES - 1) * margin) / CLASSES;
        }
        if (READS_NORM && IS_RAW) {
            double norm = 0;
            for (i64 j = threadIdx.x; j < a.d; j += blockDim.x) norm += fabs((double)WIDEN(f[j]));
            h = reduce(norm, false);
        } else if (READS_NORM) {
            h = (double)WIDEN(f[row]);
        }
    }
    __shared__ Slopes shared;
    __syncthreads();
    if (threadIdx.x == 0) evaluate(a, row, label, u, h, mean_lead, &shared);
    __syncthreads();
    const Slopes slopes = shared;
    const bool on = a.enabled ? *a.enabled != 0 : true;
    if (a.logits_grad) {
        ELEMENT* grad = a.logits_grad + row * CLASSES;
        const MATRIX factor = (MATRIX)(bounded(slopes.others, FLOAT_LARGEST) / total);
        const MATRIX shift = (MATRIX)bounded(slopes.shift, FLOAT_LARGEST);
        for (i64 j = threadIdx.x; j < CLASSES; j += blockDim.x) {
            MATRIX value = (MATRIX)(label == -1 ? 0.0 : NOT_A_NUMBER);
            if (label == j) value = (MATRIX)bounded(slopes.label, FLOAT_LARGEST);
            else if (label >= 0 && total == 0) value = slopes.others != slopes.others ? factor : shift;
            else if (label >= 0) value = EXP(adjusted(a, WIDEN(z[j]), j, highest) - above) * factor + shift;
            grad[j] = NARROW(saturate(value));
        }
    }
    if (a.features_grad && IS_RAW) {
        ELEMENT* grad = a.features_grad + row * a.d;
        const MATRIX slope = (MATRIX)bounded(slopes.by_norm, LARGEST);
        for (i64 j = threadIdx.x; j < a.d; j += blockDim.x) {
            MATRIX x = WIDEN(f[j]), value = slope != slope ? slope : x + 0;
            if (x > 0) value = slope;
            if (x < 0) value = -slope;
            if (!on || label == -1) value = 0;
            grad[j] = NARROW(value);
        }
    } else if (a.features_grad && threadIdx.x == 0) {
        a.features_grad[row] = NARROW((MATRIX)bounded(slopes.by_norm, LARGEST));
    }
}
