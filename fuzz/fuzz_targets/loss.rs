//! Loss sources: whatever the YAML text, it is refused with an error that can be shown, or it compiles to a graph that
//! verifies, which is written and read back as the same loss.

#![no_main]

use ibgraph::loss::{ClassWeighting, Interface, Loss, LossSpec, Quantity, Reduction, Tables};
use ibgraph::{artifact, lower, onnx, row};
use libfuzzer_sys::fuzz_target;

const CLASSES: usize = 3;

fuzz_target!(|text: &str| {
    let spec = match LossSpec::from_yaml("fuzz.yaml", text) {
        Ok(spec) => spec,
        Err(error) => return assert!(error.to_string().starts_with("fuzz.yaml")),
    };
    // The options follow from the text, so that the corpus covers them.
    let choice = text.len();
    let mut interface = Interface::new(CLASSES, &spec);
    if choice & 1 != 0 {
        interface.reduction = Reduction::None;
    }
    if choice & 2 != 0 {
        let standard = ["loss", "logits_grad", "row_loss"].map(str::to_owned);
        interface.outputs = standard.into_iter().chain(spec.row.keys().cloned()).collect();
    }
    let weighted = choice & 4 != 0 && spec.uses(Quantity::ClassWeight, &[]);
    if weighted {
        interface.class_weighting = ClassWeighting::Stored;
    }
    if choice & 8 != 0 && spec.logits == Default::default() {
        interface.runtime_parameters = spec.parameters.keys().cloned().collect();
        interface.enabled_input = true;
    }
    let weights = weighted.then(|| vec![0.5, 1.0, 2.0]);
    let Ok(tables) = Tables::new(&spec, weights, Some(&[500.0, 60.0, 7.0]), CLASSES) else { return };
    let Ok(loss) = Loss::with_tables(spec, interface, tables) else { return };
    row::formulas(&loss);
    lower::portable(&loss).verify().expect("a lowered graph verifies");
    if row::check_gradient(&loss).is_err() {
        return;
    }
    let bytes = artifact::emit(&loss, onnx::Versions::default()).expect("a loss is written");
    let back = artifact::open(&bytes).expect("what was written opens").loss;
    assert_eq!(back.interface(), loss.interface());
    assert_eq!(back.spec().parameters.len(), loss.spec().parameters.len());
});
