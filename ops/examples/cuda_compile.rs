//! Compiles CUDA sources as the library does, without a device: `cuda_compile NVRTC_DIRECTORY CACHE ARCHITECTURE… < SOURCE`
//! prints a line an architecture: its name, the bytes of its code, the first of them, and the milliseconds that it took.
//! CACHE is a directory for compiled code, or `-` for none.

use std::path::PathBuf;
use std::time::Instant;

use ibgraph_ops::cuda::{CudaError, Nvrtc, Target, code, open_nvrtc};

/// The release of the driver that there would be.
const RELEASE: u32 = 13;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [nvrtc, cache, architectures @ ..] = arguments.as_slice() else {
        return Err("name NVRTC's directory, a cache or `-`, and architectures".into());
    };
    let source = std::io::read_to_string(std::io::stdin())?;
    let nvrtc = Nvrtc::new(open_nvrtc(RELEASE, &[PathBuf::from(nvrtc)])?)?;
    let known = nvrtc.architectures()?;
    let dir = (cache != "-").then(|| PathBuf::from(cache));
    // Two threads ask for each at once, as two sessions would; they must get the same code, compiled once.
    let twice = |target: Target| {
        let get = || code(&nvrtc, &source, target, dir.as_deref());
        std::thread::scope(|scope| {
            let other = scope.spawn(get);
            let (key, one) = get()?;
            let (_, two) = other.join().map_err(|_| CudaError("a thread panicked".into()))??;
            assert!(std::sync::Arc::ptr_eq(&one, &two), "the code was made twice");
            Ok::<_, CudaError>((key, one))
        })
    };
    for architecture in architectures {
        let start = Instant::now();
        let (_, code) = twice(Target::choose(architecture.parse()?, &known)?)?;
        let first = String::from_utf8_lossy(&code[..4]).escape_default().to_string();
        println!("{architecture} {} {first} {:.1}", code.len(), start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(())
}
