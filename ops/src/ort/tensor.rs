//! Tensors of a kernel's context as slices.

use std::borrow::Cow;
use std::ptr;

use ort_sys::{ONNXTensorElementDataType, OrtKernelContext, OrtValue};

use super::api::{Failure, api, check};

/// A tensor of ONNX Runtime, for as long as the call that it came with.
pub(super) struct Tensor {
    pub kind: ONNXTensorElementDataType,
    pub dims: Vec<i64>,
    data: *mut u8,
}

impl Tensor {
    /// # Safety
    /// `value` is a tensor of the running call.
    pub unsafe fn new(value: *const OrtValue) -> Result<Self, Failure> {
        let mut info = ptr::null_mut();
        let mut kind = ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
        let (mut rank, mut data) = (0, ptr::null_mut());
        // SAFETY: a tensor, and places to write; the info is released whatever comes of it.
        unsafe {
            check((api().GetTensorTypeAndShape)(value, &mut info))?;
            let mut read = check((api().GetTensorElementType)(info, &mut kind));
            read = read.and_then(|()| check((api().GetDimensionsCount)(info, &mut rank)));
            let mut dims = vec![0; rank];
            read = read.and_then(|()| check((api().GetDimensions)(info, dims.as_mut_ptr(), rank)));
            (api().ReleaseTensorTypeAndShapeInfo)(info);
            read?;
            check((api().GetTensorMutableData)(value.cast_mut(), &mut data))?;
            Ok(Self { kind, dims, data: data.cast() })
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.dims.iter().map(|d| usize::try_from(*d).unwrap_or(0)).product()
    }

    /// Where the elements are, wherever that is.
    pub fn address(&self) -> usize {
        self.data.addr()
    }

    /// The elements; a copy where they are not aligned for their type.
    ///
    /// # Safety
    /// `T` is the tensor's element type (any bits are a `T`), and no one writes the tensor meanwhile.
    pub unsafe fn elements<T: Copy>(&self) -> Cow<'_, [T]> {
        let (len, start) = (self.len(), self.data.cast::<T>());
        if len == 0 {
            return Cow::Borrowed(&[]);
        }
        if start.is_aligned() {
            // SAFETY: ONNX Runtime's tensors have as many elements as their shape says.
            return Cow::Borrowed(unsafe { std::slice::from_raw_parts(start, len) });
        }
        // SAFETY: as above, without asking for alignment.
        Cow::Owned((0..len).map(|k| unsafe { start.add(k).read_unaligned() }).collect())
    }
}

/// Makes the output at `index`: where its elements go; 0 where no one asked for it.
///
/// # Safety
/// `context` is that of the running call.
pub(super) unsafe fn output_address(
    context: *mut OrtKernelContext,
    index: usize,
    dims: &[i64],
) -> Result<usize, Failure> {
    let (mut value, mut data) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the caller's promise.
    unsafe {
        check((api().KernelContext_GetOutput)(context, index, dims.as_ptr(), dims.len(), &mut value))?;
        if !value.is_null() {
            check((api().GetTensorMutableData)(value, &mut data))?;
        }
    }
    Ok(data.addr())
}

/// The input at `index`.
///
/// # Safety
/// `context` is that of the running call.
pub(super) unsafe fn input(context: *mut OrtKernelContext, index: usize) -> Result<Tensor, Failure> {
    let mut value = ptr::null();
    // SAFETY: the caller's promise.
    unsafe {
        check((api().KernelContext_GetInput)(context, index, &mut value))?;
        if value.is_null() {
            return Err(format!("input {index} is missing").into());
        }
        Tensor::new(value)
    }
}

/// An output that is written through a slice, whatever its alignment is, and also where no one asked for it.
pub(super) struct OutputBuffer<T> {
    place: *mut T,
    len: usize,
    /// Instead of `place`, where that is null or not aligned.
    own: Option<Vec<T>>,
}

impl<T: Copy + Default> OutputBuffer<T> {
    /// Makes the output at `index`.
    ///
    /// # Safety
    /// `context` is that of the running call, and `T` the output's element type.
    pub unsafe fn new(context: *mut OrtKernelContext, index: usize, dims: &[i64]) -> Result<Self, Failure> {
        let (mut value, mut data) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the caller's promise.
        unsafe {
            let made = (api().KernelContext_GetOutput)(context, index, dims.as_ptr(), dims.len(), &mut value);
            check(made)?;
            if !value.is_null() {
                check((api().GetTensorMutableData)(value, &mut data))?;
            }
        }
        let len = dims.iter().map(|d| usize::try_from(*d).unwrap_or(0)).product();
        let place = data.cast::<T>();
        let own = (place.is_null() || !place.is_aligned()).then(|| vec![T::default(); len]);
        Ok(Self { place, len, own })
    }

    /// To write to.
    pub fn elements(&mut self) -> &mut [T] {
        match &mut self.own {
            Some(own) => own,
            // SAFETY: not null, aligned, and ONNX Runtime made it with this many elements.
            None => unsafe { std::slice::from_raw_parts_mut(self.place, self.len) },
        }
    }

    /// Copies to where ONNX Runtime wants it, where that has not been done.
    pub fn finish(self) {
        if let Some(own) = self.own
            && !self.place.is_null()
        {
            for (k, value) in own.into_iter().enumerate() {
                // SAFETY: `place` has room for all elements.
                unsafe { self.place.add(k).write_unaligned(value) };
            }
        }
    }
}
