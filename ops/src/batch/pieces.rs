//! A slice that several threads write pieces of.

use std::marker::PhantomData;
use std::ops::Range;

/// A mutable slice whose pieces are lent out one by one, without a check that they do not overlap.
#[derive(Debug)]
pub(super) struct Pieces<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: a `Pieces` stands for a `&mut [T]`, which may go to another thread where `T` may; what it lends out is the
// callers' duty (`Pieces::piece`).
unsafe impl<T: Send> Send for Pieces<'_, T> {}
// SAFETY: as above: sharing it lends out pieces, each to one thread.
unsafe impl<T: Send> Sync for Pieces<'_, T> {}

impl<'a, T> Pieces<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// A piece.
    ///
    /// # Safety
    /// While it is lent out, no other piece that overlaps it is.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "that is what this type is for; see its safety section")]
    pub unsafe fn piece(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: in bounds, and alone by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}
