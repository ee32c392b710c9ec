//! Our provider names as those of `ort`.

use ort::ep::{self, ExecutionProvider, ExecutionProviderDispatch};
use ort::memory::AllocationDevice;

use super::OrtOptions;
use crate::runtime::provider::Provider;

/// What to register for `provider`; `None` for the CPU, which is always registered.
pub(super) fn dispatch(provider: Provider, options: &OrtOptions) -> Option<ExecutionProviderDispatch> {
    Some(match provider {
        Provider::Cpu => return None,
        Provider::Cuda => {
            ep::CUDA::default().with_tf32(options.tf32).with_cuda_graph(options.cuda_graph).build()
        }
        Provider::TensorRt => ep::TensorRT::default().build(),
        Provider::DirectMl => ep::DirectML::default().build(),
        Provider::CoreMl => ep::CoreML::default().build(),
        Provider::Rocm => ep::ROCm::default().build(),
        Provider::MiGraphX => ep::MIGraphX::default().build(),
        Provider::OpenVino => ep::OpenVINO::default().build(),
        Provider::OneDnn => ep::OneDNN::default().build(),
        Provider::Qnn => ep::QNN::default().build(),
        Provider::Xnnpack => ep::XNNPACK::default().build(),
        Provider::WebGpu => ep::WebGPU::default().build(),
    })
}

/// The memory that `provider` computes in; `None` for those that take the host's.
pub(super) fn device(provider: Provider) -> Option<AllocationDevice<'static>> {
    match provider {
        Provider::Cuda | Provider::TensorRt => Some(AllocationDevice::CUDA),
        Provider::Rocm | Provider::MiGraphX => Some(AllocationDevice::HIP),
        Provider::DirectMl => Some(AllocationDevice::DIRECTML),
        Provider::WebGpu => Some(AllocationDevice::WEBGPU_BUFFER),
        Provider::Cpu
        | Provider::CoreMl
        | Provider::OpenVino
        | Provider::OneDnn
        | Provider::Qnn
        | Provider::Xnnpack => None,
    }
}

/// Whether the loaded library was built with `provider`. That says nothing of this machine.
pub(super) fn is_compiled_in(provider: Provider) -> bool {
    let answer = match provider {
        Provider::Cpu => Ok(true),
        Provider::Cuda => ep::CUDA::is_available(),
        Provider::TensorRt => ep::TensorRT::is_available(),
        Provider::DirectMl => ep::DirectML::is_available(),
        Provider::CoreMl => ep::CoreML::is_available(),
        Provider::Rocm => ep::ROCm::is_available(),
        Provider::MiGraphX => ep::MIGraphX::is_available(),
        Provider::OpenVino => ep::OpenVINO::is_available(),
        Provider::OneDnn => ep::OneDNN::is_available(),
        Provider::Qnn => ep::QNN::is_available(),
        Provider::Xnnpack => ep::XNNPACK::is_available(),
        Provider::WebGpu => ep::WebGPU::is_available(),
    };
    // A library that cannot even list its providers has told its reason where it refused this one.
    answer.unwrap_or(true)
}
