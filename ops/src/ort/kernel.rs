//! The kernel for the CPU: tensors to a batch.

use std::borrow::Cow;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};

use half::{bf16, f16};
use ort_sys::{ONNXTensorElementDataType as Kind, OrtKernelContext, OrtKernelInfo};

use super::api::{Failure, api, check};
use super::given::{Given, check_size, check_switch};
use super::tensor::{OutputBuffer, Tensor, input};
use crate::batch::{BatchError, Inputs, Labels, Outputs, Pool, Scalars, run};
use crate::descriptor::{Descriptor, Input, Output, Reduction, parse};
use crate::element::Element;
use crate::simd::Isa;

/// A node of a session.
pub(super) struct Kernel {
    pub loss: Descriptor,
}

/// The loss of a node.
///
/// # Safety
/// `info` is that of the node that is being made.
pub(super) unsafe fn loss_of(info: *const OrtKernelInfo) -> Result<Descriptor, Failure> {
    let name = c"loss".as_ptr();
    let (mut size, mut inputs, mut outputs) = (0, 0, 0);
    // SAFETY: the caller's promise; the first call asks for the size, which includes the final 0.
    let text = unsafe {
        check((api().KernelInfoGetAttribute_string)(info, name, std::ptr::null_mut(), &mut size))?;
        let mut bytes = vec![0_u8; size];
        check((api().KernelInfoGetAttribute_string)(info, name, bytes.as_mut_ptr().cast(), &mut size))?;
        check((api().KernelInfo_GetInputCount)(info, &mut inputs))?;
        check((api().KernelInfo_GetOutputCount)(info, &mut outputs))?;
        bytes.truncate(size.saturating_sub(1));
        String::from_utf8(bytes).map_err(|_| "the attribute `loss` is not text")?
    };
    let loss = parse(&text).map_err(|error| error.to_string())?;
    if (inputs, outputs) != (loss.inputs.len(), loss.outputs.len()) {
        return Err(format!(
            "the node has {inputs} inputs and {outputs} outputs, but its loss has {} and {}",
            loss.inputs.len(),
            loss.outputs.len()
        )
        .into());
    }
    Ok(loss)
}

impl Kernel {
    /// # Safety
    /// `info` is that of the node that is being made.
    pub unsafe fn new(info: *const OrtKernelInfo) -> Result<Self, Failure> {
        // SAFETY: the caller's promise.
        Ok(Self { loss: unsafe { loss_of(info)? } })
    }

    /// Runs once.
    ///
    /// # Safety
    /// `context` is that of the running call.
    pub unsafe fn compute(&self, context: *mut OrtKernelContext) -> Result<(), Failure> {
        // SAFETY: the caller's promise.
        let tensors = unsafe {
            let read = (0..self.loss.inputs.len()).map(|index| input(context, index));
            read.collect::<Result<Vec<_>, _>>()?
        };
        let given = Given { loss: &self.loss, tensors: &tensors };
        let kind = given.tensor(Input::Logits)?.kind;
        // SAFETY: the caller's promise, and the element type is what was found.
        unsafe {
            match kind {
                Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT => given.run::<f32>(context),
                Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE => given.run::<f64>(context),
                Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16 => given.run::<f16>(context),
                Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16 => given.run::<bf16>(context),
                _ => Err("logits are of no float type".into()),
            }
        }
    }
}

impl Given<'_> {
    /// # Safety
    /// `context` is that of the running call, and `T` the element type of the logits.
    unsafe fn run<T: Element + Default>(&self, context: *mut OrtKernelContext) -> Result<(), Failure>
    where
        T::Matrix: Default,
    {
        let logits = self.tensor(Input::Logits)?;
        let rows = self.rows()?;
        let features = self.find(Input::Features);
        // SAFETY: kinds were compared above, or are compared where the elements are taken.
        unsafe {
            let (values, labels) = (logits.elements::<T>(), self.labels()?);
            let feature_values = features.map_or(Cow::Borrowed(&[][..]), |f| f.elements::<T>());
            let tables = [Input::LossGrad, Input::ClassWeights, Input::LogitBias, Input::LabelMargin];
            let sizes = [rows, self.loss.classes, self.loss.classes, self.loss.classes];
            let mut scalars = Vec::new();
            for (input, size) in tables.into_iter().zip(sizes) {
                scalars.push(self.find(input).map(|t| scalar_values(t, input, size)).transpose()?);
            }
            let scalar = |index: usize| scalars[index].as_ref().map(ScalarValues::as_scalars);
            let inputs = Inputs {
                rows,
                logits: &values,
                labels: labels.as_labels(),
                features: &feature_values,
                loss_grad: scalar(0),
                class_weights: scalar(1),
                logit_bias: scalar(2),
                label_margin: scalar(3),
                enabled: self.enabled()?,
                parameters: self.parameters()?,
            };
            let dims = features.map_or(&[][..], |f| f.dims.as_slice());
            let mut buffers = Buffers::<T>::new(self.loss, context, &logits.dims, dims)?;
            let outcome = run(self.loss, &inputs, buffers.outputs(), &OrtPool(context), Isa::detect());
            buffers.finish();
            outcome.map_err(|error| Failure::Message(error.0))
        }
    }

    fn labels(&self) -> Result<LabelValues<'_>, Failure> {
        let tensor = self.tensor(Input::Labels)?;
        // SAFETY: the element type is what was found.
        unsafe {
            match tensor.kind {
                Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 => Ok(LabelValues::I64(tensor.elements())),
                Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32 => Ok(LabelValues::I32(tensor.elements())),
                _ => Err("labels are neither int64 nor int32".into()),
            }
        }
    }

    fn enabled(&self) -> Result<bool, Failure> {
        let Some(tensor) = self.find(Input::Enabled) else { return Ok(true) };
        check_switch(tensor)?;
        // SAFETY: a bool of ONNX Runtime is a byte.
        Ok(unsafe { tensor.elements::<u8>() }[0] != 0)
    }

    fn parameters(&self) -> Result<Vec<f64>, Failure> {
        let numbered = (0..self.loss.parameters()).map(Input::Parameter);
        numbered.map(|input| Ok(scalar_values(self.tensor(input)?, input, 1)?.as_scalars().at(0))).collect()
    }
}

enum LabelValues<'a> {
    I32(Cow<'a, [i32]>),
    I64(Cow<'a, [i64]>),
}

impl LabelValues<'_> {
    fn as_labels(&self) -> Labels<'_> {
        match self {
            LabelValues::I32(values) => Labels::I32(values),
            LabelValues::I64(values) => Labels::I64(values),
        }
    }
}

enum ScalarValues<'a> {
    F32(Cow<'a, [f32]>),
    F64(Cow<'a, [f64]>),
}

impl ScalarValues<'_> {
    fn as_scalars(&self) -> Scalars<'_> {
        match self {
            ScalarValues::F32(values) => Scalars::F32(values),
            ScalarValues::F64(values) => Scalars::F64(values),
        }
    }
}

fn scalar_values(tensor: &Tensor, input: Input, size: usize) -> Result<ScalarValues<'_>, Failure> {
    check_size(tensor, input, size)?;
    // SAFETY: the element type is what was found.
    unsafe {
        match tensor.kind {
            Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT => Ok(ScalarValues::F32(tensor.elements())),
            Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE => Ok(ScalarValues::F64(tensor.elements())),
            _ => Err(format!("the input {input:?} is neither float32 nor float64").into()),
        }
    }
}

/// The outputs of a call, in the order of the loss's.
struct Buffers<'a, T: Element> {
    loss: &'a Descriptor,
    wide: Vec<OutputBuffer<T>>,
    scalar: Vec<OutputBuffer<T::Matrix>>,
}

impl<'a, T: Element + Default> Buffers<'a, T>
where
    T::Matrix: Default,
{
    /// # Safety
    /// `context` is that of the running call, and `T` the element type of the logits.
    unsafe fn new(
        loss: &'a Descriptor,
        context: *mut OrtKernelContext,
        logits: &[i64],
        features: &[i64],
    ) -> Result<Self, Failure> {
        let mut made = Self { loss, wide: Vec::new(), scalar: Vec::new() };
        let rows = &logits[..1];
        for (index, output) in loss.outputs.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                match output {
                    Output::LogitsGrad => made.wide.push(OutputBuffer::new(context, index, logits)?),
                    Output::FeaturesGrad => made.wide.push(OutputBuffer::new(context, index, features)?),
                    Output::Loss if loss.reduction != Reduction::None => {
                        made.scalar.push(OutputBuffer::new(context, index, &[])?);
                    }
                    _ => made.scalar.push(OutputBuffer::new(context, index, rows)?),
                }
            }
        }
        Ok(made)
    }

    fn outputs(&mut self) -> Outputs<'_, T> {
        let mut outputs = Outputs {
            loss: None,
            logits_grad: None,
            features_grad: None,
            row_loss: None,
            entries: Vec::new(),
        };
        let (mut wide, mut scalar) = (self.wide.iter_mut(), self.scalar.iter_mut());
        for output in &self.loss.outputs {
            match output {
                Output::LogitsGrad => outputs.logits_grad = wide.next().map(OutputBuffer::elements),
                Output::FeaturesGrad => outputs.features_grad = wide.next().map(OutputBuffer::elements),
                Output::Loss => outputs.loss = scalar.next().map(OutputBuffer::elements),
                Output::RowLoss => outputs.row_loss = scalar.next().map(OutputBuffer::elements),
                Output::Entry(_) => outputs.entries.extend(scalar.next().map(OutputBuffer::elements)),
            }
        }
        outputs
    }

    fn finish(self) {
        self.wide.into_iter().for_each(OutputBuffer::finish);
        self.scalar.into_iter().for_each(OutputBuffer::finish);
    }
}

/// ONNX Runtime's own threads.
struct OrtPool(*mut OrtKernelContext);

/// What a thread of the pool is given.
struct Shared<'a> {
    work: &'a (dyn Fn(usize) + Sync),
    panicked: AtomicBool,
}

impl Pool for OrtPool {
    fn for_each(&self, count: usize, work: &(dyn Fn(usize) + Sync)) -> Result<(), BatchError> {
        let shared = Shared { work, panicked: AtomicBool::new(false) };
        let data = (&raw const shared).cast_mut().cast();
        // SAFETY: the context is that of the running call; ONNX Runtime returns after all calls have.
        let outcome = check(unsafe { (api().KernelContext_ParallelFor)(self.0, call, count, 0, data) });
        if outcome.is_err() || shared.panicked.load(Ordering::Relaxed) {
            return Err(BatchError("a task on ONNX Runtime's threads failed".into()));
        }
        Ok(())
    }
}

unsafe extern "C" fn call(data: *mut c_void, index: usize) {
    // SAFETY: `data` is the `Shared` of the `for_each` that is running.
    let shared = unsafe { &*data.cast::<Shared<'_>>() };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (shared.work)(index)));
    if outcome.is_err() {
        shared.panicked.store(true, Ordering::Relaxed);
    }
}
