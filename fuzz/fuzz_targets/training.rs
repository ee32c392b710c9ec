//! Training graphs: whatever model is read, its functions are written out to a model that can be read, and a training step on
//! it is refused with an error that can be shown, or is a model that can be read.

#![no_main]

use ibgraph::graft::{Selection, TrainingPlan, Wishes, discover, prospect, training};
use ibgraph::loss::{Interface, Loss, builtin};
use ibgraph::onnx::{Host, inline, splice};
use ibgraph::tensor::DType;
use ibgraph::train::{Betas, Optimizer, Recipe};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(host) = Host::read(bytes) else { return };
    let written = match inline(&host) {
        Ok(written) => written,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let host = match &written {
        Some(bytes) => Host::read(bytes).expect("a model with its functions written out can be read"),
        None => host,
    };
    let Ok(head) = discover(&host, Wishes::default()) else { return };
    let _ = prospect(&host, &head);
    let spec = builtin::load("cross-entropy").expect("it is built in").expect("it reads");
    let mut interface = Interface::new(head.classes.unwrap_or(3).clamp(2, 100), &spec);
    interface.dtype = head.logits.dtype.unwrap_or(DType::F32);
    let loss = Loss::new(spec, interface, None).expect("the options agree");
    let recipe = Recipe { loss_scale: true, ..Recipe::new(Optimizer::AdamW(Betas::default())) };
    for recipe in [None, Some(&recipe)] {
        let selection = Selection::default();
        let plan = TrainingPlan { loss: &loss, recipe, labels: None, selection: &selection };
        match training(&host, &head, plan) {
            Ok(made) => {
                let out = splice(&host, &made.delta).expect("a training graph is a good graph").to_vec();
                Host::read(&out).expect("a training graph can be read");
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
