//! Compiled programs against the reference, and the steps of the built-in losses.

use proptest::prelude::*;

use super::*;
use crate::loss::reference::{Batch, evaluate};
use crate::loss::{
    ClassWeighting, InfluenceGradient, Interface, Loss, LossSpec, Quantity, Reduction, builtin,
};

fn loss(spec: LossSpec, edit: impl FnOnce(&mut Interface)) -> Loss {
    let mut interface = Interface::new(2, &spec);
    interface.class_weighting = ClassWeighting::Stored;
    edit(&mut interface);
    Loss::new(spec, interface, Some(vec![1.5, 0.5])).unwrap()
}

fn built_in(name: &str) -> LossSpec {
    builtin::load(name).unwrap().unwrap()
}

/// Rounding of float64 through the few dozen steps of a program, where no step cancels more than three digits.
const ROUNDING: f64 = 1e-12;

/// Compares row loss, ∂u and ∂h of a program with the reference, for one row of margin u and norm h.
fn check(loss: &Loss, u: f64, h: f64) {
    let batch = Batch { logits: vec![0.0, u], labels: vec![0], features: vec![h], ..Batch::default() };
    let want = evaluate(loss, &batch).unwrap();
    let compiled = compile(loss);
    let q = 1.0 / (1.0 + (-u).exp());
    let p = 1.0 / (1.0 + u.exp());
    let nll = if u > 0.0 { u + (-u).exp().ln_1p() } else { u.exp().ln_1p() };
    let steps = compiled.program.evaluate(|input| match input {
        RowInput::Quantity(Quantity::Nll) => nll,
        RowInput::Quantity(Quantity::P) => p,
        RowInput::Quantity(Quantity::Q | Quantity::ErrorL1) => q,
        RowInput::Quantity(Quantity::Margin) => u,
        RowInput::Quantity(Quantity::FeatureL1) => h,
        RowInput::Quantity(Quantity::ClassWeight) => 1.5,
        RowInput::Quantity(Quantity::MeanNll) => (nll + (nll - u)) / 2.0,
        RowInput::Parameter(name) => loss.spec().parameters[name].value,
        RowInput::Count | RowInput::Upstream => 1.0,
        RowInput::WeightSum => 1.5,
    });
    let near = |step: Option<StepId>, want: f64, what: &str| {
        let got = steps[step.unwrap().index()];
        let error = (got - want).abs() / want.abs().max(f64::from(f32::MIN_POSITIVE));
        assert!(error <= ROUNDING, "{what} at u {u}, h {h}: {got} and {want}");
    };
    near(compiled.roots.share, want.loss[0], "loss");
    near(compiled.roots.by_margin, want.logits_grad[1], "by margin");
    if loss.has_features() {
        near(compiled.roots.by_norm, want.features_grad[0], "by norm");
    }
}

#[test]
fn programs_agree_with_the_reference_at_every_margin() {
    // Losses whose logits are as they are: `check` makes a row of a given margin.
    for name in ["ib", "ib-cb", "ib-focal", "cross-entropy", "class-balanced", "focal"] {
        for u in [-600.0, -200.0, -100.0, -88.0, -80.0, -40.0, -20.0, -5.0, -0.1, 0.0, 0.1, 5.0, 40.0, 80.0] {
            for h in [1e-6, 1.0, 32.0] {
                check(&loss(built_in(name), |_| ()), u, h);
            }
        }
    }
}

#[test]
fn a_stopped_influence_weight_is_a_constant_to_the_backward() {
    let stopped = loss(built_in("ib"), |i| i.influence_gradient = InfluenceGradient::Stopped);
    check(&stopped, -1.0, 3.0);
    check(&stopped, 20.0, 3.0);
}

#[test]
fn focal_exponents_below_one_have_their_limit_at_zero_loss() {
    for gamma in [0.0, 0.5, 1.0, 2.0] {
        let mut spec = built_in("ib-focal");
        spec.set("gamma", gamma).unwrap();
        check(&loss(spec.clone(), |_| ()), -1000.0, 3.0);
        check(&loss(spec, |i| i.runtime_parameters = vec!["gamma".into()]), -1000.0, 3.0);
    }
}

#[test]
fn slopes_of_powers_and_roots_follow_the_formula_far_out() {
    // By hand: d√q/du = √q·p/2 and d(q^0.3)/du = 0.3·q^0.3·p; p is 1 and q is e^u to all digits there.
    for (formula, exponent) in [("sqrt(q)", 0.5), ("q ^ 0.3", 0.3), ("q ^ g", 0.3)] {
        let yaml = format!("name: far\nparameters: {{g: 0.3}}\nloss: {formula}\n");
        let spec = LossSpec::from_yaml("far.yaml", &yaml).unwrap();
        let mut interface = Interface::new(2, &spec);
        if formula.contains('g') {
            interface.runtime_parameters = vec!["g".into()];
        }
        let compiled = compile(&Loss::new(spec, interface, None).unwrap());
        for u in [-90.0, -100.0, -150.0, -600.0] {
            let steps = compiled.program.evaluate(|input| match input {
                RowInput::Quantity(Quantity::Q) => f64::exp(u),
                RowInput::Parameter(_) => 0.3,
                _ => 1.0,
            });
            let got = steps[compiled.roots.by_margin.unwrap().index()];
            let want = exponent * f64::exp(exponent * u);
            assert!((got / want - 1.0).abs() < ROUNDING, "{formula} at {u}: {got} and {want}");
        }
    }
}

#[test]
fn an_exponent_at_run_time_takes_a_negative_base() {
    let yaml = "name: square\nparameters: {g: 2.0}\nloss: margin ^ g\n";
    let spec = LossSpec::from_yaml("square.yaml", yaml).unwrap();
    let mut interface = Interface::new(2, &spec);
    interface.runtime_parameters = vec!["g".into()];
    let compiled = compile(&Loss::new(spec, interface, None).unwrap());
    for (u, g, want) in
        [(-3.0, 2.0, -6.0), (0.0, 2.0, 0.0), (0.0, 1.0, 1.0), (-3.0, 1.0, 1.0), (2.0, -1.0, -0.25)]
    {
        let steps = compiled.program.evaluate(|input| match input {
            RowInput::Quantity(Quantity::Margin) => u,
            RowInput::Parameter(_) => g,
            _ => 1.0,
        });
        assert_eq!(steps[compiled.roots.by_margin.unwrap().index()], want, "{u} ^ {g}");
    }
}

#[test]
fn long_products_and_chains_compile_quickly() {
    let factors: Vec<String> = (1..100).map(|k| format!("(nll + {k})")).collect();
    let yaml = format!("name: long\nloss: {}\n", factors.join(" * "));
    let spec = LossSpec::from_yaml("long.yaml", &yaml).unwrap();
    let interface = Interface::new(2, &spec);
    // Not a matter of seconds: sharing over all pairs of factors took minutes.
    compile(&Loss::new(spec, interface, None).unwrap());
}

#[test]
fn the_ib_program_shares_its_products() {
    let ib = loss(built_in("ib"), |_| ());
    insta::assert_snapshot!(compile(&ib).program.to_string());
}

#[test]
fn cross_entropy_is_two_divisions() {
    let spec = built_in("cross-entropy");
    let mut interface = Interface::new(2, &spec);
    interface.reduction = Reduction::Mean;
    let loss = Loss::new(spec, interface, None).unwrap();
    insta::assert_snapshot!(compile(&loss).program.to_string());
}

/// Formulas over the row quantities, positive where a logarithm or a root needs it.
pub(super) fn formula() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("nll".to_owned()),
        Just("p".to_owned()),
        Just("q".to_owned()),
        Just("margin".to_owned()),
        Just("feature_l1".to_owned()),
        Just("class_weight".to_owned()),
        (1u32..40).prop_map(|k| format!("{}", f64::from(k) / 8.0)),
    ];
    leaf.prop_recursive(5, 24, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} + {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} - {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} * {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} / (1 + abs({b})))")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("min({a}, {b} + 0.01)")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("max({a}, {b} + 0.01)")),
            inner.clone().prop_map(|a| format!("one_minus_exp(-abs({a}))")),
            inner.clone().prop_map(|a| format!("sign({a} + 0.013)")),
            inner.clone().prop_map(|a| format!("log(1 + abs({a}))")),
            inner.clone().prop_map(|a| format!("sqrt(0.5 + abs({a}))")),
            inner.clone().prop_map(|a| format!("(0.25 + abs({a})) ^ 1.5")),
            inner.clone().prop_map(|a| format!("stop({a})")),
            inner.prop_map(|a| format!("-{a}")),
        ]
    })
}

proptest! {
    /// Symbolic derivatives against dual numbers; formulas that subtract can cancel, so errors are taken relative to
    /// the sizes that went into them.
    #[test]
    fn random_formulas_agree_with_the_reference(text in formula(), u in -6.0..6.0f64, h in 0.1..4.0f64) {
        let yaml = format!("name: random\nloss: class_weight * nll + ({text})\n");
        let loss = loss(LossSpec::from_yaml("random.yaml", &yaml).unwrap(), |_| ());
        let batch = Batch { logits: vec![0.0, u], labels: vec![0], features: vec![h], ..Batch::default() };
        let batch = if loss.has_features() { batch } else { Batch { features: vec![], ..batch } };
        let want = evaluate(&loss, &batch).unwrap();
        prop_assume!(want.loss[0].is_finite() && want.loss[0].abs() < 1e8);
        let compiled = compile(&loss);
        let (e, nll) = (u.exp(), if u > 0.0 { u + (-u).exp().ln_1p() } else { u.exp().ln_1p() });
        let steps = compiled.program.evaluate(|input| match input {
            RowInput::Quantity(Quantity::Nll) => nll,
            RowInput::Quantity(Quantity::P) => 1.0 / (1.0 + e),
            RowInput::Quantity(Quantity::Margin) => u,
            RowInput::Quantity(Quantity::FeatureL1) => h,
            RowInput::Quantity(Quantity::ClassWeight) => 1.5,
            RowInput::Quantity(_) => e / (1.0 + e),
            _ => 1.0,
        });
        let largest = steps.iter().fold(1.0f64, |m, s| m.max(s.abs()));
        let near = |step: Option<StepId>, want: f64| (steps[step.unwrap().index()] - want).abs() <= 1e-11 * largest;
        prop_assert!(near(compiled.roots.share, want.loss[0]));
        prop_assert!(near(compiled.roots.by_margin, want.logits_grad[1]), "{} vs {}", steps[compiled.roots.by_margin.unwrap().index()], want.logits_grad[1]);
        if loss.has_features() {
            prop_assert!(near(compiled.roots.by_norm, want.features_grad[0]));
        }
    }
}
