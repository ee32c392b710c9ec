//! Elements that begin where a line of the cache does, as those of ONNX Runtime's tensors do.

use std::ops::{Deref, DerefMut};

/// Elements of a line of the cache.
const LINE: usize = 64 / size_of::<f32>();

/// A slice at the start of a line.
pub struct Aligned {
    elements: Vec<f32>,
    start: usize,
}

impl Aligned {
    pub fn new(values: impl ExactSizeIterator<Item = f32>) -> Self {
        let mut elements: Vec<f32> = Vec::with_capacity(values.len() + LINE);
        let start = elements.as_ptr().align_offset(64);
        elements.resize(start, 0.0);
        elements.extend(values);
        Self { elements, start }
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.elements[self.start..]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.elements[self.start..]
    }
}
