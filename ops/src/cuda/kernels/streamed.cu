// Logits of a row that is too long for registers. What shared memory has room for is read from global memory once; the rest
// is read again, while it is still in the second level of the cache: what is read or written only once does not push it out.

// A host without shared memory brings its own.
#ifndef CACHE
#define CACHE extern __shared__ Vector cache[];
#endif
CACHE

// Vectors that a lane asks for before it uses the first.
#define AHEAD 4

struct Logits {
    const ELEMENT* row;
    Span span;
    int lane;
    int cached;
    bool loaded;

    __device__ inline Logits(const Args& a, const ELEMENT* z, int lane)
        : row(z), span(span_of(z, CLASSES)), lane(lane), cached((int)a.cached), loaded(false) {}

    __device__ inline void load() {}

    // A lane reads what it wrote itself, so nothing waits for other lanes.
    __device__ inline Vector fetch(int vector) {
        const ELEMENT* from = row + first_of(span, vector);
        if (vector >= cached) return from_bits(*(const uint4*)from);
        if (loaded) return cache[vector];
        const Vector values = from_bits(__ldcs((const uint4*)from));
        cache[vector] = values;
        return values;
    }

    template <class F> __device__ inline void use_vector(int vector, const Vector& values, F use) {
        MATRIX x[WIDTH];
#pragma unroll
        for (int w = 0; w < WIDTH; w++) x[w] = WIDEN(values.at[w]);
        use(first_of(span, vector), x, WIDTH);
    }

    template <class F> __device__ inline void each(F use) {
        int vector = lane;
        for (; vector + (AHEAD - 1) * LANES < span.vectors; vector += AHEAD * LANES) {
            Vector values[AHEAD];
#pragma unroll
            for (int k = 0; k < AHEAD; k++) values[k] = fetch(vector + k * LANES);
#pragma unroll
            for (int k = 0; k < AHEAD; k++) use_vector(vector + k * LANES, values[k], use);
        }
        for (; vector < span.vectors; vector += LANES) use_vector(vector, fetch(vector), use);
        const int j = edge_of(span, lane);
        if (j >= 0) {
            MATRIX x = WIDEN(row[j]);
            use(j, &x, 1);
        }
        loaded = true;
    }

    template <class F> __device__ inline void store(ELEMENT* grad, F value) {
        const bool aligned = same_alignment(grad, row);
        for (int vector = lane; vector < span.vectors; vector += LANES) {
            const Vector values = fetch(vector);
            const int first = first_of(span, vector);
            Vector made;
#pragma unroll
            for (int w = 0; w < WIDTH; w++) made.at[w] = NARROW(value(first + w, WIDEN(values.at[w])));
            if (aligned) __stcs((uint4*)(grad + first), to_bits(made));
            else write(grad, span, vector, made, false);
        }
        const int j = edge_of(span, lane);
        if (j >= 0) grad[j] = NARROW(value(j, WIDEN(row[j])));
    }
};
