//! ONNX Runtime's errors as ours: what they mean, from their code or, where the code says too little, their words.

use ort::ErrorCode;

use super::{NAME, providers};
use crate::runtime::error::RuntimeError;
use crate::runtime::provider::Provider;

/// Words by which ONNX Runtime refuses an operator or an opset it does not have, under codes that also mean a broken
/// model.
const UNSUPPORTED: [&str; 4] = [
    "No Op registered for",
    "is not a registered function/op",
    "NOT_IMPLEMENTED",
    "only *guarantees* support for models stamped with",
];

/// Words by which a provider that did load says that the machine has no such device.
const NO_DEVICE: [&str; 4] = [
    "no CUDA-capable device",
    "CUDA driver version is insufficient",
    "cudaErrorNoDevice",
    "no ROCm-capable device",
];

/// Words by which ONNX Runtime refuses to write a graph with nodes that a provider compiled (`Initialize` in its
/// inference_session.cc). The code is FAIL, which says nothing.
const COMPILED: &str = "contains compiled nodes";

/// A provider that could not be registered.
pub(super) fn provider(provider: Provider, version: &str, message: &str) -> RuntimeError {
    if !providers::is_compiled_in(provider) {
        let advice = match provider {
            Provider::Cuda => "run `ibgraph runtime install --cuda`, or use `--provider cpu`",
            _ => "name a build that has it with `--runtime PATH`, or use `--provider cpu`",
        };
        return RuntimeError::ProviderMissing {
            provider,
            reason: format!("ONNX Runtime {version} was built without it"),
            advice: advice.to_owned(),
        };
    }
    let reason = match missing_library(message) {
        Some(library) => format!("the system has no {library}"),
        None => one_line(message),
    };
    let advice = match provider {
        Provider::Cuda | Provider::TensorRt => {
            "install the NVIDIA driver, CUDA and cuDNN of the versions that this ONNX Runtime was built for (1.31: \
             CUDA 13, cuDNN 9) where the loader finds them (LD_LIBRARY_PATH), or use `--provider cpu`"
        }
        _ => "install what it needs where the loader finds it, or use `--provider cpu`",
    };
    RuntimeError::ProviderMissing { provider, reason, advice: advice.to_owned() }
}

/// A model that could not be loaded.
pub(super) fn load(asked: Provider, version: &str, error: &ort::Error) -> RuntimeError {
    let message = error.message();
    if asked != Provider::Cpu && NO_DEVICE.iter().any(|words| message.contains(words)) {
        return provider(asked, version, message);
    }
    unsupported(error).unwrap_or_else(|| RuntimeError::Load { engine: NAME, message: message.to_owned() })
}

/// A model that could not be loaded while its graph was to be written.
pub(super) fn write(asked: Provider, version: &str, error: &ort::Error) -> RuntimeError {
    compiled(asked, error.message()).unwrap_or_else(|| load(asked, version, error))
}

fn compiled(asked: Provider, message: &str) -> Option<RuntimeError> {
    message.contains(COMPILED).then(|| RuntimeError::Run {
        engine: NAME,
        message: format!(
            "it cannot write out a graph with nodes that `{asked}` compiled; use a provider that compiles none, such as \
             `--provider cuda`"
        ),
    })
}

/// Copies between devices that could not be learnt, and why.
pub(super) fn copies(error: RuntimeError) -> RuntimeError {
    let why = match error {
        RuntimeError::Run { message, .. } | RuntimeError::Load { message, .. } => message,
        other => other.to_string(),
    };
    RuntimeError::Run { engine: NAME, message: format!("its copies between devices are unknown: {why}") }
}

/// A run that failed.
pub(super) fn run(error: &ort::Error) -> RuntimeError {
    unsupported(error)
        .unwrap_or_else(|| RuntimeError::Run { engine: NAME, message: error.message().to_owned() })
}

fn unsupported(error: &ort::Error) -> Option<RuntimeError> {
    let message = error.message();
    let refused =
        error.code() == ErrorCode::NotImplemented || UNSUPPORTED.iter().any(|words| message.contains(words));
    refused.then(|| RuntimeError::Unsupported { engine: NAME, what: message.to_owned() })
}

/// The shared library that a loader's message says it did not find: glibc's `NAME: cannot open shared object file`,
/// macOS's `Library not loaded: NAME`, and ONNX Runtime's `depends on "NAME" which is missing` on Windows.
fn missing_library(message: &str) -> Option<&str> {
    let word_before = |end: usize| message[..end].rsplit([' ', '\n', '"', '\'']).next();
    let word_after = |start: usize| {
        message[start..].trim_start_matches([' ', '"', '\'']).split([' ', '\n', '"', '\'']).next()
    };
    let find = |words: &str| message.find(words);
    let name = if let Some(at) = find(": cannot open shared object file") {
        word_before(at)
    } else if let Some(at) = find("Library not loaded:") {
        word_after(at + "Library not loaded:".len())
    } else {
        find("depends on \"").and_then(|at| word_after(at + "depends on".len()))
    };
    name.filter(|name| !name.is_empty())
}

/// A message without its line breaks.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiled_nodes_leave_the_copies_unknown_and_say_what_to_use() {
        // The words of ONNX Runtime 1.32.
        let refusal = "Unable to serialize model as it contains compiled nodes. Please disable any execution \
                       providers which generate compiled nodes.";
        let error = copies(compiled(Provider::TensorRt, refusal).unwrap());
        assert!(matches!(error, RuntimeError::Run { .. }), "{error}");
        for words in ["copies between devices are unknown", "`tensorrt` compiled", "--provider cuda"] {
            assert!(error.to_string().contains(words), "{error}");
        }
        assert_eq!(compiled(Provider::Cuda, "Protobuf serialization failed."), None);
    }

    #[test]
    fn copies_are_unknown_for_the_reason_that_the_graph_was_not_written() {
        let full = RuntimeError::Load { engine: NAME, message: "Protobuf serialization failed.".to_owned() };
        let error = copies(full);
        assert!(matches!(error, RuntimeError::Run { .. }), "{error}");
        assert!(error.to_string().ends_with("unknown: Protobuf serialization failed."), "{error}");
    }

    #[test]
    fn the_missing_library_is_found_in_each_loaders_words() {
        for (message, library) in [
            (
                "Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open \
                 shared object file: No such file or directory",
                Some("libcublasLt.so.13"),
            ),
            (
                "dlopen: Library not loaded: @rpath/libfoo.dylib\n Referenced from",
                Some("@rpath/libfoo.dylib"),
            ),
            (
                "loading \"a.dll\" which depends on \"cublasLt64_13.dll\" which is missing. (Error 126)",
                Some("cublasLt64_13.dll"),
            ),
            ("CUDA failure 100", None),
            (": cannot open shared object file", None),
        ] {
            assert_eq!(missing_library(message), library, "{message}");
        }
    }
}
