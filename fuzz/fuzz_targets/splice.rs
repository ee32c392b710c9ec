//! Grafts: whatever model is read, what is grafted onto it can be read again, and taking the insertions out gives back
//! every original byte.

#![no_main]

use ibgraph::graft::{Kind, Plan, Wishes, attach, discover};
use ibgraph::loss::{Interface, Loss, builtin};
use ibgraph::onnx::wire::fields;
use ibgraph::onnx::{Host, splice};
use ibgraph::{lower, tensor};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(host) = Host::read(bytes) else { return };
    let Ok(head) = discover(&host, Wishes::default()) else { return };
    let spec = builtin::load(if head.features.is_some() { "ib" } else { "cross-entropy" });
    let spec = spec.expect("it is built in").expect("it reads");
    let mut interface = Interface::new(head.classes.unwrap_or(3).clamp(2, 100), &spec);
    interface.dtype = head.logits.dtype.unwrap_or(tensor::DType::F32);
    let loss = Loss::new(spec, interface, None).expect("the options agree");
    let graph = lower::portable(&loss);
    for kind in [Kind::Loss, Kind::LossGrad] {
        let plan = Plan { loss: &loss, graph: &graph, kind, labels: None };
        let Ok(attached) = attach(&host, &head, plan) else { return };
        let out = splice(&host, &attached.delta).expect("a graft leaves a good graph").to_vec();
        Host::read(&out).expect("a graft can be read");
        assert_eq!(without_insertions(bytes, &out), bytes);
    }
});

/// `out` without what does not stand in `original`: around and within the graph's field.
fn without_insertions(original: &[u8], out: &[u8]) -> Vec<u8> {
    let graph = |bytes: &[u8]| {
        let all = fields(bytes).expect("a model is protobuf");
        all.into_iter().find(|field| field.number == 7).expect("a model has a graph")
    };
    let (old, new) = (graph(original), graph(out));
    let (old_content, new_content) = (old.content.expect("a message"), new.content.expect("a message"));
    let content = &original[old_content.clone()];
    let found = &out[new_content.clone()];
    // One insertion before the graph's own bytes, one after them.
    let at = if content.is_empty() { 0 } else { found.windows(content.len()).position(|w| w == content).unwrap_or(0) };
    let kept = &found[at..(at + content.len()).min(found.len())];
    let after = &out[new.whole.end..new.whole.end + (original.len() - old.whole.end)];
    [&out[..new.whole.start], &original[old.whole.start..old_content.start], kept, after].concat()
}
