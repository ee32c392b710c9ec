//! Snapshots of lowered graphs, and that every option gives a graph that verifies.

use super::*;
use crate::loss::{ClassWeighting, FeatureInput, Interface, Loss, Reduction, Tables, builtin};
use crate::tensor::DType;

fn loss(name: &str, edit: impl FnOnce(&mut Interface)) -> Loss {
    let spec = builtin::load(name).unwrap().unwrap();
    let mut interface = Interface::new(10, &spec);
    edit(&mut interface);
    let weights = (interface.class_weighting == ClassWeighting::Stored).then(|| vec![1.0; 10]);
    let tables = Tables::new(&spec, weights, Some(&[7.0; 10]), 10).unwrap();
    Loss::with_tables(spec, interface, tables).unwrap()
}

#[test]
fn ib_with_stored_weights() {
    let loss = loss("ib", |i| i.class_weighting = ClassWeighting::Stored);
    insta::assert_snapshot!(portable(&loss).to_string());
}

#[test]
fn ib_without_weights() {
    insta::assert_snapshot!(portable(&loss("ib", |_| ())).to_string());
}

#[test]
fn ib_with_everything_at_run_time() {
    let loss = loss("ib", |i| {
        i.class_weighting = ClassWeighting::Runtime;
        i.runtime_parameters = vec!["alpha".into(), "epsilon".into()];
        i.enabled_input = true;
        i.ignore_index = Some(-100);
        i.check_labels = true;
        i.dtype = DType::F16;
        i.reduction = Reduction::None;
    });
    insta::assert_snapshot!(portable(&loss).to_string());
}

#[test]
fn cross_entropy() {
    insta::assert_snapshot!(portable(&loss("cross-entropy", |_| ())).to_string());
}

#[test]
fn balanced_softmax() {
    insta::assert_snapshot!(portable(&loss("balanced-softmax", |_| ())).to_string());
}

/// Losses whose logits are adjusted, for which there is no switch to plain cross entropy.
const ADJUSTED: [&str; 4] = ["ldam", "ldam-drw", "balanced-softmax", "logit-adjusted"];

#[test]
fn every_combination_of_options_verifies() {
    let reductions = [Reduction::Mean, Reduction::WeightedMean, Reduction::Sum, Reduction::None];
    let weightings = [ClassWeighting::None, ClassWeighting::Stored, ClassWeighting::Runtime];
    let inputs = [FeatureInput::Raw, FeatureInput::Norm, FeatureInput::NormColumn];
    for name in builtin::names() {
        for reduction in reductions {
            for class_weighting in weightings {
                for feature_input in inputs {
                    for switches in 0..8 {
                        let loss = loss(name, |i| {
                            (i.reduction, i.class_weighting, i.feature_input) =
                                (reduction, class_weighting, feature_input);
                            i.enabled_input = switches & 1 != 0 && !ADJUSTED.contains(&name);
                            i.check_labels = switches & 2 != 0;
                            i.ignore_index = (switches & 4 != 0).then_some(255);
                            i.dtype = [DType::F32, DType::F64, DType::F16, DType::BF16][switches % 4];
                        });
                        portable(&loss).verify().unwrap();
                        direct(&loss).verify().unwrap();
                        if reduction != Reduction::None && loss.interface().dtype != DType::F64 {
                            trainable(&loss).unwrap().verify().unwrap();
                            explicit_backward(&loss).unwrap().verify().unwrap();
                        }
                    }
                }
            }
        }
    }
}

/// Element types of a graph's values, without float64.
fn assert_float32_alone(graph: &Graph) {
    graph.verify().unwrap();
    assert!(graph.values.iter().all(|value| value.ty.dtype != DType::F64), "{graph}");
}

#[test]
fn ib_for_training() {
    let loss = loss("ib", |i| i.class_weighting = ClassWeighting::Stored);
    let graph = trainable(&loss).unwrap();
    assert_float32_alone(&graph);
    insta::assert_snapshot!(graph.to_string());
}

#[test]
fn ib_for_training_with_its_own_backward() {
    let graph = explicit_backward(&loss("ib", |_| ())).unwrap();
    graph.verify().unwrap();
    insta::assert_snapshot!(graph.to_string());
}

#[test]
fn what_training_cannot_take_is_refused_with_the_reason() {
    let message = |loss: &Loss| {
        let errors = [trainable(loss).unwrap_err(), explicit_backward(loss).unwrap_err()];
        let [first, second] = errors.map(|e| e.to_string());
        assert_eq!(first, second);
        first
    };
    assert!(message(&loss("ib", |i| i.reduction = Reduction::None)).contains("one loss a row"));
    assert!(message(&loss("ib", |i| i.dtype = DType::F64)).contains("float64"));
}
