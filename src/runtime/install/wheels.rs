//! The pinned packages: one a platform, with the hash that it had when this table was written.
//!
//! To move to a newer version: `pip download --no-deps --only-binary=:all: --implementation cp --python-version 3.11
//! --abi cp311 --platform PLATFORM onnxruntime==VERSION` for each line, then `sha256sum` and `wc -c`.

use super::install_error;
use crate::runtime::error::RuntimeError;

/// The Python version that the packages are for. Only their native libraries are used, which do not depend on it.
pub(super) const PYTHON_VERSION: &str = "3.11";

/// A package file of the Python package index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wheel {
    /// Name on the index.
    pub(super) package: &'static str,
    pub(super) version: &'static str,
    /// Rust's names for the operating system and the processor.
    os: &'static str,
    arch: &'static str,
    /// pip's names for the binary interface and the platform.
    pub(super) abi: &'static str,
    pub(super) platform: &'static str,
    pub(super) sha256: &'static str,
    /// Size of the file.
    pub(super) bytes: u64,
}

const CPU: Wheel = Wheel {
    package: "onnxruntime",
    version: "1.32.0",
    os: "linux",
    arch: "x86_64",
    abi: "cp311",
    platform: "manylinux_2_28_x86_64",
    sha256: "5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d",
    bytes: 27_773_237,
};

const CUDA: Wheel = Wheel {
    package: "onnxruntime-gpu",
    version: "1.31.1",
    sha256: "e26c475fe361b2015f45b4b824bd13f0bb20204e59b62814e6f0acd5f3d491a6",
    bytes: 255_560_985,
    ..CPU
};

/// Every package. There is none with CUDA for ARM or macOS, and none at all for macOS on Intel (since 1.24).
pub(super) const WHEELS: [Wheel; 6] = [
    CPU,
    Wheel {
        arch: "aarch64",
        platform: "manylinux_2_28_aarch64",
        sha256: "2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c",
        bytes: 23_195_070,
        ..CPU
    },
    Wheel {
        os: "macos",
        arch: "aarch64",
        platform: "macosx_14_0_arm64",
        sha256: "366b9e53d07812cc5c92822cecf7563b76a8a0f32ba3bb8dd232a206ac3bcb6c",
        bytes: 22_506_162,
        ..CPU
    },
    Wheel {
        os: "windows",
        platform: "win_amd64",
        sha256: "d7e0c45cc5f456ad7805e6dd256a7662736cda9c2fd17becae194eb3c2f6df72",
        bytes: 16_695_880,
        ..CPU
    },
    CUDA,
    Wheel {
        os: "windows",
        platform: "win_amd64",
        sha256: "fd98341ba71c093153f0dcfc53eb69d57f706866fb45e94e5b0cde5d97a50dbf",
        bytes: 168_096_711,
        ..CUDA
    },
];

impl Wheel {
    /// Name of the installation's directory.
    pub(super) fn directory(&self) -> String {
        format!("{}-{}-{}", self.package, self.version, self.platform)
    }

    /// File name of the library to load.
    pub(super) fn library(&self) -> String {
        match self.os {
            "windows" => "onnxruntime.dll".to_owned(),
            "macos" => format!("libonnxruntime.{}.dylib", self.version),
            _ => format!("libonnxruntime.so.{}", self.version),
        }
    }
}

/// The package for the machine that this program was built for.
pub(super) fn for_this_machine(cuda: bool) -> Result<&'static Wheel, RuntimeError> {
    choose(cuda, std::env::consts::OS, std::env::consts::ARCH)
}

fn choose(cuda: bool, os: &str, arch: &str) -> Result<&'static Wheel, RuntimeError> {
    let package = if cuda { CUDA.package } else { CPU.package };
    WHEELS
        .iter()
        .find(|wheel| wheel.package == package && wheel.os == os && wheel.arch == arch)
        .ok_or_else(|| {
            install_error(format!(
                "there is no {package} package for {os} on {arch}; build ONNX Runtime yourself and name it with \
                 `--runtime PATH`, or use the embedded engine"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_platform_without_a_package_is_given_one() {
        assert_eq!(choose(false, "linux", "x86_64").unwrap().version, "1.32.0");
        assert_eq!(choose(true, "windows", "x86_64").unwrap().version, "1.31.1");
        for (cuda, os, arch) in [(true, "linux", "aarch64"), (false, "macos", "x86_64")] {
            let message = choose(cuda, os, arch).unwrap_err().to_string();
            assert!(message.contains(os) && message.contains(arch), "{message}");
        }
    }

    #[test]
    fn every_hash_is_one_and_no_two_are_the_same() {
        let mut hashes: Vec<_> = WHEELS.iter().map(|wheel| wheel.sha256).collect();
        assert!(hashes.iter().all(|hash| hash.len() == 64));
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), WHEELS.len());
    }
}
