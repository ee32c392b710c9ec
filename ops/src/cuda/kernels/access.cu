// Rows of a tensor, 16 bytes at a time: single elements up to the first address that 16 divides, vectors, and the elements
// that are left. A lane has every LANES-th vector and at most one single element, its edge.

#define WIDTH ((int)(16 / sizeof(ELEMENT)))

struct __align__(16) Vector {
    ELEMENT at[WIDTH];
};

struct Span {
    int head, vectors, size;
};

__device__ inline Span span_of(const ELEMENT* row, i64 size) {
    const int before = (int)((16 - ((size_t)row & 15)) & 15) / (int)sizeof(ELEMENT);
    const int head = before < size ? before : (int)size;
    return Span{head, ((int)size - head) / WIDTH, (int)size};
}

// Which element is the edge of a lane; -1 where it has none.
__device__ inline int edge_of(const Span& s, int lane) {
    const int at = lane < s.head ? lane : lane + s.vectors * WIDTH;
    return at < s.size ? at : -1;
}

__device__ inline int first_of(const Span& s, int vector) { return s.head + vector * WIDTH; }

// Memory is read and written as four words, and written by an instruction that says so (`__stwb`, a store like any other):
// otherwise the compiler stores 16-bit elements one or two at a time.
__device__ inline uint4 to_bits(const Vector& values) {
    uint4 bits;
    memcpy(&bits, &values, 16);
    return bits;
}

__device__ inline Vector from_bits(uint4 bits) {
    Vector values;
    memcpy(&values, &bits, 16);
    return values;
}

__device__ inline Vector read(const ELEMENT* row, const Span& s, int vector) {
    return from_bits(*(const uint4*)(row + first_of(s, vector)));
}

// Where `aligned`, `row` has the alignment of the span.
__device__ inline void write(ELEMENT* row, const Span& s, int vector, const Vector& values, bool aligned) {
    ELEMENT* to = row + first_of(s, vector);
    if (aligned) __stwb((uint4*)to, to_bits(values));
    else
        for (int w = 0; w < WIDTH; w++) to[w] = values.at[w];
}

__device__ inline bool same_alignment(const void* a, const void* b) { return (((size_t)a ^ (size_t)b) & 15) == 0; }

// Gives every element of a row one value, but element `but` its own.
__device__ inline void fill(ELEMENT* row, int size, int lane, MATRIX value, int but, MATRIX own) {
    for (int j = lane; j < size; j += LANES) row[j] = NARROW(j == but ? own : value);
}

// Elements of a row that stay in the registers of its lanes, widened.
template <int COUNT> struct Kept {
    MATRIX at[COUNT][WIDTH];
    MATRIX edge;

    __device__ inline void load(const ELEMENT* row, const Span& s, int lane) {
#pragma unroll
        for (int k = 0; k < COUNT; k++) {
            const int vector = lane + k * LANES;
            if (vector >= s.vectors) continue;
            const Vector found = read(row, s, vector);
#pragma unroll
            for (int w = 0; w < WIDTH; w++) at[k][w] = WIDEN(found.at[w]);
        }
        const int j = edge_of(s, lane);
        if (j >= 0) edge = WIDEN(row[j]);
    }

    // use(first, elements, how many)
    template <class F> __device__ inline void each(const Span& s, int lane, F use) {
#pragma unroll
        for (int k = 0; k < COUNT; k++) {
            const int vector = lane + k * LANES;
            if (vector < s.vectors) use(first_of(s, vector), at[k], WIDTH);
        }
        const int j = edge_of(s, lane);
        if (j >= 0) use(j, &edge, 1);
    }

    // Writes value(place, element) for every element.
    template <class F> __device__ inline void store(ELEMENT* row, const Span& s, int lane, bool aligned, F value) {
#pragma unroll
        for (int k = 0; k < COUNT; k++) {
            const int vector = lane + k * LANES;
            if (vector >= s.vectors) continue;
            Vector made;
#pragma unroll
            for (int w = 0; w < WIDTH; w++) made.at[w] = NARROW(value(first_of(s, vector) + w, at[k][w]));
            write(row, s, vector, made, aligned);
        }
        const int j = edge_of(s, lane);
        if (j >= 0) row[j] = NARROW(value(j, edge));
    }
};
