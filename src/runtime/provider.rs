//! Names of the execution providers a user can ask for.

use std::fmt;
use std::str::FromStr;

/// Where a model runs. Displayed and parsed in lower case: `cpu`, `cuda`, …
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Provider {
    /// The processor; always there.
    #[default]
    Cpu,
    /// NVIDIA GPUs through CUDA and cuDNN.
    Cuda,
    /// NVIDIA GPUs through TensorRT.
    TensorRt,
    /// Any GPU on Windows through DirectML.
    DirectMl,
    /// Apple's CoreML.
    CoreMl,
    /// AMD GPUs through ROCm (ONNX Runtime up to 1.22; later releases have MIGraphX instead).
    Rocm,
    /// AMD GPUs through MIGraphX.
    MiGraphX,
    /// Intel hardware through OpenVINO.
    OpenVino,
    /// Intel processors through oneDNN.
    OneDnn,
    /// Qualcomm neural processors.
    Qnn,
    /// Processors through XNNPACK.
    Xnnpack,
    /// Any GPU through WebGPU.
    WebGpu,
}

impl Provider {
    /// Every provider, in the order that messages list them.
    pub const ALL: [Provider; 12] = [
        Provider::Cpu,
        Provider::Cuda,
        Provider::TensorRt,
        Provider::DirectMl,
        Provider::CoreMl,
        Provider::Rocm,
        Provider::MiGraphX,
        Provider::OpenVino,
        Provider::OneDnn,
        Provider::Qnn,
        Provider::Xnnpack,
        Provider::WebGpu,
    ];

    /// The name that a user writes.
    pub fn name(self) -> &'static str {
        match self {
            Provider::Cpu => "cpu",
            Provider::Cuda => "cuda",
            Provider::TensorRt => "tensorrt",
            Provider::DirectMl => "directml",
            Provider::CoreMl => "coreml",
            Provider::Rocm => "rocm",
            Provider::MiGraphX => "migraphx",
            Provider::OpenVino => "openvino",
            Provider::OneDnn => "onednn",
            Provider::Qnn => "qnn",
            Provider::Xnnpack => "xnnpack",
            Provider::WebGpu => "webgpu",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no provider; choose one of {}", valid_names())]
pub struct UnknownProvider {
    /// What was given.
    pub given: String,
}

fn valid_names() -> String {
    Provider::ALL.map(Provider::name).join(", ")
}

impl FromStr for Provider {
    type Err = UnknownProvider;

    /// Parses a provider's name, in upper or lower case.
    fn from_str(text: &str) -> Result<Provider, UnknownProvider> {
        Provider::ALL
            .into_iter()
            .find(|provider| provider.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownProvider { given: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_back_in_any_case() {
        for provider in Provider::ALL {
            assert_eq!(provider.to_string().parse(), Ok(provider));
            assert_eq!(provider.name().to_uppercase().parse(), Ok(provider));
        }
    }

    #[test]
    fn an_unknown_name_lists_the_valid_ones() {
        let message = "gpu".parse::<Provider>().unwrap_err().to_string();
        assert_eq!(
            message,
            "`gpu` is no provider; choose one of cpu, cuda, tensorrt, directml, coreml, rocm, migraphx, openvino, \
             onednn, qnn, xnnpack, webgpu"
        );
    }
}
