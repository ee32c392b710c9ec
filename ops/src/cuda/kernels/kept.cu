// Logits of a row in the registers of its lanes: read once, and replaced by their exponentials.

struct Logits {
    Kept<SLOTS> kept;
    const ELEMENT* row;
    Span span;
    int lane;

    __device__ inline Logits(const Args&, const ELEMENT* z, int lane) : row(z), span(span_of(z, CLASSES)), lane(lane) {}

    __device__ inline void load() { kept.load(row, span, lane); }

    template <class F> __device__ inline void each(F use) { kept.each(span, lane, use); }

    template <class F> __device__ inline void store(ELEMENT* grad, F value) {
        kept.store(grad, span, lane, same_alignment(grad, row), value);
    }
};
