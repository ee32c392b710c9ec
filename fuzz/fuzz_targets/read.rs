//! Models: whatever the bytes, they are refused with an error that can be shown, or everything that is read from them
//! (structure, external data, the place for a loss, a graft that is there) is an answer.

#![no_main]

use ibgraph::graft::{Wishes, discover, extract};
use ibgraph::onnx::{Host, external};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let host = match Host::read(bytes) {
        Ok(host) => host,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(host.initializer_ranges().iter().all(|range| range.end <= bytes.len()));
    if let Ok(references) = external::references(host.model()) {
        let inside = |location: &str| !location.starts_with('/') && !location.split('/').any(|part| part == "..");
        assert!(references.iter().all(|reference| inside(&reference.location)));
    }
    if let Ok(head) = discover(&host, Wishes::default()) {
        assert!(!head.logits.why.is_empty());
    }
    let _ = extract(&host);
});
