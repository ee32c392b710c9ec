// A row: what its logits and features measure, the row program on one lane, its gradients.

struct Slopes {
    double others, label, shift, by_norm, share;
};

// The row program: from u, h and the rest to what leaves it.
__device__ void evaluate(const Args& a, i64 row, i64 label, double u, double h, double mean_lead, Slopes* out) {
    double e = exp(-fabs(u));
    double nll = (u > 0 ? u : 0) + (u != u ? u : log1p(e));
    double p = u > 0 ? e / (1 + e) : 1 / (1 + e), q = u > 0 ? 1 / (1 + e) : e / (1 + e);
    double mean_nll = nll - mean_lead;
    double count = NEEDS_BATCH ? a.work[0] : (double)a.n, weight_sum = NEEDS_BATCH ? a.work[1] : 0.0;
    double class_weight = a.class_weights && label >= 0 ? (double)a.class_weights[label] : 1.0;
    double upstream = a.loss_grad ? (double)a.loss_grad[row] : 0.0;
    bool on = a.enabled ? *a.enabled != 0 : true, masked = label < 0;
    double mask = label == -1 ? 0.0 : NOT_A_NUMBER;
    PROGRAM
}

// The exponent of a logit, relative to the highest.
__device__ inline MATRIX adjusted(const Args& a, MATRIX z, int j, MATRIX highest) {
    MATRIX x = (z - highest) * (MATRIX)SCALE;
    return HAS_BIAS ? x + (MATRIX)((double)a.logit_bias[j] * SCALE) : x;
}

// What a row is measured to be. `highest` is the highest of the other logits, or a little below it; `above` the highest
// exponent, where biases can make that more than 0; `total` is Σ e^(exponent - above).
struct Measure {
    MATRIX highest, above;
    double total, lead, biases, norm;
    bool nothing;
};

// A label's own logit is given to `use` as that of a class that there is not.
template <class F> __device__ inline void others(Logits& logits, i64 label, F use) {
    logits.each([&](int j, MATRIX* x, int count) {
#pragma unroll
        for (int w = 0; w < WIDTH; w++)
            if (w < count && j + w == label) x[w] = LOWEST;
        use(j, x, count);
    });
}

// Sums that are taken along with the exponentials'.
__device__ inline void also(const Args& a, Measure* m, i64 label, MATRIX at, int j, const MATRIX* x, int count) {
    if (!IS_SMOOTHED) return;
    for (int w = 0; w < count; w++) {
        if (j + w != label) m->lead += (double)(x[w] - at);
        if (HAS_BIAS) m->biases += (double)a.logit_bias[j + w];
    }
}

#if STREAMED && !HAS_BIAS
// In one pass: a lane's sum is relative to a logit that at most 8 / SCALE is added to; a higher one takes its place.
__device__ inline void exponentials(const Args& a, Logits& logits, i64 label, MATRIX at, Measure* m) {
    MATRIX base = LOWEST;
    others(logits, label, [&](int j, MATRIX* x, int count) {
        also(a, m, label, at, j, x, count);
        MATRIX most = LOWEST, sum = 0;
        for (int w = 0; w < count; w++) most = x[w] > most ? x[w] : most;
        if (most > base + (MATRIX)(8.0 / SCALE)) {
            m->total *= (double)EXP((base - most) * (MATRIX)SCALE);
            base = most;
        }
        const MATRIX from = base == LOWEST ? (MATRIX)0 : base;
        for (int w = 0; w < count; w++) sum += EXP((x[w] - from) * (MATRIX)SCALE);
        m->total += (double)sum;
    });
    m->highest = highest_of_row(base);
    m->nothing = m->highest == LOWEST;
    m->above = 0;
    if (base != LOWEST) m->total *= (double)EXP((base - m->highest) * (MATRIX)SCALE);
    if (m->nothing) m->highest = 0;
}
#else
// The highest logit, then the highest exponent, then the sum.
__device__ inline void exponentials(const Args& a, Logits& logits, i64 label, MATRIX at, Measure* m) {
    MATRIX most = LOWEST, top = HAS_BIAS ? LOWEST : (MATRIX)0;
    others(logits, label, [&](int j, MATRIX* x, int count) {
        also(a, m, label, at, j, x, count);
        for (int w = 0; w < count; w++) most = x[w] > most ? x[w] : most;
    });
    m->highest = highest_of_row(most);
    m->nothing = m->highest == LOWEST;
    if (m->nothing) m->highest = 0;
    if (HAS_BIAS) {
        others(logits, label, [&](int j, MATRIX* x, int count) {
            for (int w = 0; w < count; w++) {
                const MATRIX exponent = adjusted(a, x[w], j + w, m->highest);
                top = exponent > top ? exponent : top;
            }
        });
        top = highest_of_row(top);
    }
    m->above = m->nothing ? (MATRIX)0 : top;
    others(logits, label, [&](int j, MATRIX* x, int count) {
        MATRIX sum = 0;
        for (int w = 0; w < count; w++) {
            x[w] = EXP(adjusted(a, x[w], j + w, m->highest) - m->above);
            sum += x[w];
        }
        m->total += (double)sum;
    });
}
#endif

#if USES_FEATURES
struct Features {
    Kept<FEATURE_SLOTS> kept;
    const ELEMENT* row;
    Span span;
    int lane;

    __device__ inline Features(const Args& a, i64 at, int lane)
        : row(a.features + at * a.d), span(span_of(row, a.d)), lane(lane) {}

    __device__ inline void load() { kept.load(row, span, lane); }

    __device__ inline double norm() {
        double sum = 0;
        kept.each(span, lane, [&](int, MATRIX* x, int count) {
            for (int w = 0; w < count; w++) sum += fabs((double)x[w]);
        });
        for (int vector = lane + FEATURE_SLOTS * LANES; vector < span.vectors; vector += LANES) {
            const Vector values = read(row, span, vector);
            for (int w = 0; w < WIDTH; w++) sum += fabs((double)WIDEN(values.at[w]));
        }
        return sum;
    }

    template <class F> __device__ inline void store(ELEMENT* grad, F value) {
        const bool aligned = same_alignment(grad, row);
        kept.store(grad, span, lane, aligned, value);
        for (int vector = lane + FEATURE_SLOTS * LANES; vector < span.vectors; vector += LANES) {
            const Vector values = read(row, span, vector);
            Vector made;
            for (int w = 0; w < WIDTH; w++) made.at[w] = NARROW(value(0, WIDEN(values.at[w])));
            write(grad, span, vector, made, aligned);
        }
    }
};
#endif

// What lane 0 has, to all lanes of the row.
__device__ inline void spread(Slopes* slopes) {
#if LANES == 32
    double* values = &slopes->others;
    for (int k = 0; k < 4; k++) values[k] = __shfl_sync(0xffffffffu, values[k], 0);
#else
    __shared__ Slopes of_row;
    if (threadIdx.x == 0) of_row = *slopes;
    __syncthreads();
    *slopes = of_row;
#endif
}

// Measures a row, and runs its program on lane 0.
__device__ inline void slopes_of(const Args& a, i64 row, i64 label, Logits& logits, Measure* m, Slopes* slopes) {
    double u = 0, h = 1, mean_lead = 0;
    if (label >= 0) {
        const MATRIX at = WIDEN(logits.row[label]);
        exponentials(a, logits, label, at, m);
        double sums[4] = {m->total, m->norm, m->lead, m->biases};
        over_row(sums, false);
        m->total = sums[0];
        const double bias = HAS_BIAS ? (double)a.logit_bias[label] : 0.0;
        const double margin = a.label_margin ? (double)a.label_margin[label] : 0.0;
        u = m->nothing ? (m->total == m->total && at > LOWEST ? -INFINITE : NOT_A_NUMBER)
                       : SCALE * (((double)m->highest - at) - bias + margin) + (double)m->above + log(m->total);
        // Σ over j of z'_j - z'_label
        if (IS_SMOOTHED) mean_lead = SCALE * (sums[2] + sums[3] - CLASSES * bias + (CLASSES - 1) * margin) / CLASSES;
        if (READS_NORM) h = IS_RAW ? sums[1] : (double)WIDEN(a.features[row]);
    }
    if (logits.lane == 0) evaluate(a, row, label, u, h, mean_lead, slopes);
}

__device__ inline void write_logits_grad(const Args& a, i64 row, i64 label, Logits& logits, const Measure& m,
                                         const Slopes& slopes) {
    ELEMENT* grad = a.logits_grad + row * CLASSES;
    const MATRIX factor = (MATRIX)(bounded(slopes.others, FLOAT_LARGEST) / m.total);
    const MATRIX shift = (MATRIX)bounded(slopes.shift, FLOAT_LARGEST);
    const MATRIX own = saturate((MATRIX)bounded(slopes.label, FLOAT_LARGEST));
    if (label < 0) {
        fill(grad, (int)CLASSES, logits.lane, (MATRIX)(label == -1 ? 0.0 : NOT_A_NUMBER), -1, 0);
    } else if (m.total == 0) {
        const MATRIX rest = saturate(slopes.others != slopes.others ? factor : shift);
        fill(grad, (int)CLASSES, logits.lane, rest, (int)label, own);
    } else {
        logits.store(grad, [&](int j, MATRIX x) {
            const MATRIX e = STREAMED ? EXP(adjusted(a, x, j, m.highest) - m.above) : x;
            return j == label ? own : saturate(e * factor + shift);
        });
    }
}

#if USES_FEATURES
// by_norm · sign(features)
__device__ inline void write_features_grad(const Args& a, i64 row, i64 label, Features& features, const Slopes& slopes) {
    ELEMENT* grad = a.features_grad + row * a.d;
    const MATRIX slope = (MATRIX)bounded(slopes.by_norm, LARGEST);
    const bool on = a.enabled ? *a.enabled != 0 : true;
    if (!on || label < 0) {
        const MATRIX value = (MATRIX)(on && label != -1 ? NOT_A_NUMBER : 0.0);
        fill(grad, (int)a.d, features.lane, value, -1, 0);
    } else {
        features.store(grad, [&](int, MATRIX x) {
            return x > 0 ? slope : x < 0 ? -slope : slope != slope ? slope : x + 0;
        });
    }
}
#endif

// A row's share of the loss, on lane 0. Every lane of the row calls it. Features are asked for before logits are waited for.
__device__ inline double row_of(const Args& a, i64 row, int lane) {
    const i64 label = class_of(a, row);
    Logits logits(a, a.logits + row * CLASSES, lane);
    Measure m = {0, 0, 0, 0, 0, 0, true};
    Slopes slopes = {0, 0, 0, 0, 0};
    if (label >= 0) logits.load();
#if USES_FEATURES
    Features features(a, row, lane);
    if (label >= 0) {
        features.load();
        if (READS_NORM) m.norm = features.norm();
    }
#endif
    slopes_of(a, row, label, logits, &m, &slopes);
    const double share = slopes.share;
    spread(&slopes);
    if (a.logits_grad) write_logits_grad(a, row, label, logits, m, slopes);
#if USES_FEATURES
    if (a.features_grad) write_features_grad(a, row, label, features, slopes);
#else
    if (a.features_grad && lane == 0) a.features_grad[row] = NARROW((MATRIX)bounded(slopes.by_norm, LARGEST));
#endif
    return share;
}

extern "C" __global__ void __launch_bounds__(THREADS) rows(Args a) {
    const int lane = threadIdx.x % LANES, place = threadIdx.x / LANES;
    const i64 row = (i64)blockIdx.x * (THREADS / LANES) + place;
#if LANES == THREADS
    const double share = row_of(a, row, lane);
    if (threadIdx.x == 0 && HAS_TOTAL) a.work[2 + blockIdx.x] = share;
#else
    const double share = row < a.n ? row_of(a, row, lane) : 0.0;
#if HAS_TOTAL
    __shared__ double shares[THREADS / LANES];
    if (lane == 0) shares[place] = share;
    __syncthreads();
    if (threadIdx.x == 0) {
        double sum = 0;
        for (int k = 0; k < THREADS / LANES; k++) sum += shares[k];
        a.work[2 + blockIdx.x] = sum;
    }
#endif
#endif
}
