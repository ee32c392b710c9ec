//! The operator as ONNX Runtime sees it: a table of functions.

use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;

use ort_sys::{
    ONNXTensorElementDataType, OrtApi, OrtCustomOp, OrtCustomOpInputOutputCharacteristic, OrtKernelContext,
    OrtKernelInfo, OrtMemType, OrtStatusPtr,
};

use super::api::{API_VERSION, guarded};
use super::kernel::Kernel;

/// Fewest inputs: logits and labels.
const FEWEST_INPUTS: c_int = 2;

/// The operator for the CPU.
pub(super) fn for_cpu() -> OrtCustomOp {
    // SAFETY: a number and optional functions, for which zeros are a value. Fields of later versions stay empty, and are
    // not read, because `version` says which there are.
    let mut op: OrtCustomOp = unsafe { MaybeUninit::zeroed().assume_init() };
    op.version = API_VERSION;
    op.GetName = Some(name);
    op.GetExecutionProviderType = Some(on_cpu);
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
    op.CreateKernelV2 = Some(create);
    op.KernelComputeV2 = Some(compute);
    op.KernelDestroy = Some(destroy);
    op
}

unsafe extern "system" fn create(
    _: *const OrtCustomOp,
    _: *const OrtApi,
    info: *const OrtKernelInfo,
    kernel: *mut *mut c_void,
) -> OrtStatusPtr {
    guarded(|| {
        // SAFETY: ONNX Runtime passes the node's info, and a place for the kernel.
        unsafe { *kernel = Box::into_raw(Box::new(Kernel::new(info)?)).cast() };
        Ok(())
    })
}

unsafe extern "system" fn compute(kernel: *mut c_void, context: *mut OrtKernelContext) -> OrtStatusPtr {
    // SAFETY: ONNX Runtime passes what `create` made, from several threads at a time, which only read it.
    guarded(|| unsafe { (*kernel.cast::<Kernel>()).compute(context) })
}

unsafe extern "system" fn destroy(kernel: *mut c_void) {
    // SAFETY: what `create` made, once.
    drop(unsafe { Box::from_raw(kernel.cast::<Kernel>()) });
}

unsafe extern "system" fn name(_: *const OrtCustomOp) -> *const c_char {
    c"MarginLoss".as_ptr()
}

unsafe extern "system" fn on_cpu(_: *const OrtCustomOp) -> *const c_char {
    c"CPUExecutionProvider".as_ptr()
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
