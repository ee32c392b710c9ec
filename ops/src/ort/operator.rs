//! The operator as ONNX Runtime sees it: a table of functions.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::MaybeUninit;

use ort_sys::{
    ONNXTensorElementDataType, OrtApi, OrtCustomOp, OrtCustomOpInputOutputCharacteristic, OrtKernelContext,
    OrtKernelInfo, OrtMemType, OrtStatusPtr,
};

use super::api::{Failure, guarded};
use super::kernel::Kernel;

/// Fewest inputs: logits and labels.
const FEWEST_INPUTS: c_int = 2;

/// Version of the operator's table: the first with all functions that are given below.
const TABLE_VERSION: u32 = 17;

/// A kernel of the operator: on which provider, and what it does.
pub(super) trait Implementation: Sized + 'static {
    /// The execution provider's name.
    const PROVIDER: &'static CStr;

    /// # Safety
    /// `info` is that of the node that is being made.
    unsafe fn create(info: *const OrtKernelInfo) -> Result<Self, Failure>;

    /// # Safety
    /// `context` is that of the running call.
    unsafe fn compute(&self, context: *mut OrtKernelContext) -> Result<(), Failure>;
}

impl Implementation for Kernel {
    const PROVIDER: &'static CStr = c"CPUExecutionProvider";

    unsafe fn create(info: *const OrtKernelInfo) -> Result<Self, Failure> {
        // SAFETY: the caller's promise.
        unsafe { Kernel::new(info) }
    }

    unsafe fn compute(&self, context: *mut OrtKernelContext) -> Result<(), Failure> {
        // SAFETY: the caller's promise.
        unsafe { Kernel::compute(self, context) }
    }
}

/// The operator with a kernel of `K`.
pub(super) fn of<K: Implementation>() -> OrtCustomOp {
    // SAFETY: a number and optional functions, for which zeros are a value. Fields of later versions stay empty, and are
    // not read, because `version` says which there are.
    let mut op: OrtCustomOp = unsafe { MaybeUninit::zeroed().assume_init() };
    op.version = TABLE_VERSION;
    op.GetName = Some(name);
    op.GetExecutionProviderType = Some(provider::<K>);
    op.GetInputType = Some(any_type);
    op.GetInputTypeCount = Some(one);
    op.GetOutputType = Some(any_type);
    op.GetOutputTypeCount = Some(one);
    op.GetInputCharacteristic = Some(variadic);
    op.GetOutputCharacteristic = Some(variadic);
    op.GetInputMemoryType = Some(memory);
    op.GetVariadicInputMinArity = Some(fewest_inputs);
    op.GetVariadicInputHomogeneity = Some(mixed_types);
    op.GetVariadicOutputMinArity = Some(fewest_outputs);
    op.GetVariadicOutputHomogeneity = Some(mixed_types);
    op.GetStartVersion = Some(first_version);
    op.GetEndVersion = Some(last_version);
    op.CreateKernelV2 = Some(create::<K>);
    op.KernelComputeV2 = Some(compute::<K>);
    op.KernelDestroy = Some(destroy::<K>);
    op
}

unsafe extern "system" fn create<K: Implementation>(
    _: *const OrtCustomOp,
    _: *const OrtApi,
    info: *const OrtKernelInfo,
    kernel: *mut *mut c_void,
) -> OrtStatusPtr {
    guarded(|| {
        // SAFETY: ONNX Runtime passes the node's info, and a place for the kernel.
        unsafe { *kernel = Box::into_raw(Box::new(K::create(info)?)).cast() };
        Ok(())
    })
}

unsafe extern "system" fn compute<K: Implementation>(
    kernel: *mut c_void,
    context: *mut OrtKernelContext,
) -> OrtStatusPtr {
    // SAFETY: ONNX Runtime passes what `create` made, from several threads at a time, which only read it.
    guarded(|| unsafe { (*kernel.cast::<K>()).compute(context) })
}

unsafe extern "system" fn destroy<K: Implementation>(kernel: *mut c_void) {
    // SAFETY: what `create` made, once.
    drop(unsafe { Box::from_raw(kernel.cast::<K>()) });
}

unsafe extern "system" fn name(_: *const OrtCustomOp) -> *const c_char {
    c"MarginLoss".as_ptr()
}

unsafe extern "system" fn provider<K: Implementation>(_: *const OrtCustomOp) -> *const c_char {
    K::PROVIDER.as_ptr()
}

unsafe extern "system" fn any_type(_: *const OrtCustomOp, _: usize) -> ONNXTensorElementDataType {
    ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED
}

unsafe extern "system" fn one(_: *const OrtCustomOp) -> usize {
    1
}

unsafe extern "system" fn variadic(_: *const OrtCustomOp, _: usize) -> OrtCustomOpInputOutputCharacteristic {
    OrtCustomOpInputOutputCharacteristic::INPUT_OUTPUT_VARIADIC
}

unsafe extern "system" fn memory(_: *const OrtCustomOp, _: usize) -> OrtMemType {
    OrtMemType::OrtMemTypeDefault
}

unsafe extern "system" fn fewest_inputs(_: *const OrtCustomOp) -> c_int {
    FEWEST_INPUTS
}

unsafe extern "system" fn fewest_outputs(_: *const OrtCustomOp) -> c_int {
    1
}

unsafe extern "system" fn mixed_types(_: *const OrtCustomOp) -> c_int {
    0
}

unsafe extern "system" fn first_version(_: *const OrtCustomOp) -> c_int {
    1
}

unsafe extern "system" fn last_version(_: *const OrtCustomOp) -> c_int {
    1
}
