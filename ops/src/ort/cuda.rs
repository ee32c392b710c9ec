//! The kernel for CUDA: a node's types to its kernels, and a call's tensors to a launch.
//!
//! A call waits for nothing and reads nothing of its inputs: they are on the device, the scalar ones too.

use std::ffi::CStr;
use std::path::PathBuf;
use std::ptr;

use ort_sys::{ONNXTensorElementDataType as Type, OrtKernelContext, OrtKernelInfo, OrtMemType};

use super::api::{Failure, api, check};
use super::given::{Given, check_size, check_switch};
use super::kernel::loss_of;
use super::operator::Implementation;
use super::tensor::{Tensor, input, output_address};
use crate::cuda::{CudaError, Kernels, Kind, Launch, Slot, Types, device};
use crate::descriptor::{Descriptor, Input, Output, Reduction};

impl From<CudaError> for Failure {
    fn from(error: CudaError) -> Self {
        Failure::Message(error.0)
    }
}

/// A node of a session.
pub(super) struct CudaKernel {
    loss: Descriptor,
    /// Element types of the inputs, which the kernels were compiled for.
    types: Vec<Type>,
    kernels: Kernels,
}

impl Implementation for CudaKernel {
    const PROVIDER: &'static CStr = c"CUDAExecutionProvider";

    unsafe fn create(info: *const OrtKernelInfo) -> Result<Self, Failure> {
        // SAFETY: the caller's promise.
        unsafe {
            let loss = loss_of(info)?;
            let types =
                (0..loss.inputs.len()).map(|index| input_type(info, index)).collect::<Result<Vec<_>, _>>()?;
            let kernels = Kernels::new(device(ordinal(info)?)?, &loss, &kinds(&loss, &types)?, cache_dir())?;
            Ok(Self { loss, types, kernels })
        }
    }

    unsafe fn compute(&self, context: *mut OrtKernelContext) -> Result<(), Failure> {
        let mut stream = ptr::null_mut();
        // SAFETY: the caller's promise.
        let tensors = unsafe {
            check((api().KernelContext_GetGPUComputeStream)(context, &mut stream))?;
            let read = (0..self.loss.inputs.len()).map(|index| input(context, index));
            read.collect::<Result<Vec<_>, _>>()?
        };
        let given = Given { loss: &self.loss, tensors: &tensors };
        let rows = self.check(&given)?;
        let features = given.find(Input::Features).map_or(&[][..], |f| f.dims.as_slice());
        // SAFETY: the caller's promise.
        let outputs = unsafe { self.outputs(context, &given.tensor(Input::Logits)?.dims, features)? };
        let width = features.get(1).map_or(0, |d| usize::try_from(*d).unwrap_or(0));
        let place = |slot: Slot| match slot {
            Slot::Input(input) => given.find(input).map_or(0, Tensor::address),
            Slot::Output(output) => {
                self.loss.outputs.iter().position(|o| *o == output).map_or(0, |index| outputs[index])
            }
            Slot::Entry(index) => outputs.get(index).copied().unwrap_or(0),
            _ => 0,
        };
        let run = Launch { rows, width, stream };
        // SAFETY: the stream and the tensors are those of the call, whose types and shapes were checked; ONNX Runtime keeps
        // them until the stream has run what was started.
        unsafe { self.kernels.run(&run, |slot| place(slot) as u64) }.map_err(Failure::from)
    }
}

impl CudaKernel {
    /// N, where types and shapes are what they have to be and elements are aligned.
    fn check(&self, given: &Given<'_>) -> Result<usize, Failure> {
        for (tensor, (input, kind)) in given.tensors.iter().zip(self.loss.inputs.iter().zip(&self.types)) {
            if tensor.kind != *kind {
                return Err(format!("the input {input:?} is not of the type that the graph says").into());
            }
            if tensor.address() % size_of(*kind) != 0 {
                return Err(format!("the input {input:?} is not aligned for its type").into());
            }
        }
        let rows = given.rows()?;
        for (input, size) in given.scalar_inputs(rows) {
            check_size(given.tensor(input)?, input, size)?;
        }
        given.find(Input::Enabled).map(check_switch).transpose()?;
        Ok(rows)
    }

    /// Where the outputs are, in the order of the loss's.
    ///
    /// # Safety
    /// `context` is that of the running call.
    unsafe fn outputs(
        &self,
        context: *mut OrtKernelContext,
        logits: &[i64],
        features: &[i64],
    ) -> Result<Vec<usize>, Failure> {
        let dims = |output: &Output| match output {
            Output::LogitsGrad => logits,
            Output::FeaturesGrad => features,
            Output::Loss if self.loss.reduction != Reduction::None => &[],
            _ => &logits[..1],
        };
        let outputs = self.loss.outputs.iter().enumerate();
        // SAFETY: the caller's promise.
        outputs.map(|(index, output)| unsafe { output_address(context, index, dims(output)) }).collect()
    }
}

fn size_of(kind: Type) -> usize {
    match kind {
        Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE | Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 => 8,
        Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT | Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32 => 4,
        Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL => 1,
        _ => 2,
    }
}

/// The element type of an input, as the graph says.
///
/// # Safety
/// `info` is that of the node that is being made.
unsafe fn input_type(info: *const OrtKernelInfo, index: usize) -> Result<Type, Failure> {
    let (mut of_type, mut of_tensor) = (ptr::null_mut(), ptr::null());
    let mut kind = Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    // SAFETY: the caller's promise, and places to write; the tensor's part belongs to the type, which is released.
    unsafe {
        check((api().KernelInfo_GetInputTypeInfo)(info, index, &mut of_type))?;
        let mut read = check((api().CastTypeInfoToTensorInfo)(of_type, &mut of_tensor));
        if read.is_ok() && !of_tensor.is_null() {
            read = check((api().GetTensorElementType)(of_tensor, &mut kind));
        }
        (api().ReleaseTypeInfo)(of_type);
        read?;
    }
    Ok(kind)
}

/// The types that the kernels are compiled for.
fn kinds(loss: &Descriptor, types: &[Type]) -> Result<Types, Failure> {
    let of = |input: Input| loss.position(input).map(|index| types[index]);
    let element = match of(Input::Logits) {
        Some(Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) => Kind::F32,
        Some(Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE) => Kind::F64,
        Some(Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16) => Kind::F16,
        Some(Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16) => Kind::BF16,
        _ => return Err("logits are of no float type".into()),
    };
    let long_labels = match of(Input::Labels) {
        Some(Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64) => true,
        Some(Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32) => false,
        _ => return Err("labels are neither int64 nor int32".into()),
    };
    let double = types.iter().map(|kind| *kind == Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE).collect();
    for (input, kind) in loss.inputs.iter().zip(types) {
        let number = matches!(
            kind,
            Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT | Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE
        );
        match input {
            Input::Logits | Input::Labels | Input::Features | Input::Enabled => {}
            _ if number => {}
            other => return Err(format!("the input {other:?} is neither float32 nor float64").into()),
        }
    }
    Ok(Types { element, long_labels, double })
}

/// The number of the device that the provider allocates on.
///
/// # Safety
/// `info` is that of the node that is being made.
unsafe fn ordinal(info: *const OrtKernelInfo) -> Result<i32, Failure> {
    let (mut allocator, mut memory, mut ordinal) = (ptr::null_mut(), ptr::null(), 0);
    // SAFETY: the caller's promise, and places to write; the allocator's memory info belongs to it, and it is released.
    unsafe {
        check((api().KernelInfoGetAllocator)(info, OrtMemType::OrtMemTypeDefault, &mut allocator))?;
        let mut read = check((api().AllocatorGetInfo)(allocator, &mut memory));
        read = read.and_then(|()| check((api().MemoryInfoGetId)(memory, &mut ordinal)));
        (api().ReleaseAllocator)(allocator);
        read?;
    }
    Ok(ordinal)
}

/// Where compiled kernels are kept: `kernels` in the cache directory of `ibgraph`. ONNX Runtime passes no options to an
/// operator, so the environment is all there is to say where.
fn cache_dir() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let of_user = if cfg!(windows) {
        set("LOCALAPPDATA")
    } else {
        set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))
    };
    let dir = set("IBGRAPH_CACHE").or_else(|| of_user.map(|dir| dir.join("ibgraph")))?;
    Some(dir.join("kernels"))
}
