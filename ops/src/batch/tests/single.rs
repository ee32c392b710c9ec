//! Rows that are taken in one piece, against the same rows in parts.

use super::*;

/// What a loss has beside the plain influence-balanced one.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Extra {
    Nothing,
    Margin,
    /// A row's own loss and factor, and two row entries; no reduction.
    Rows,
    /// Its switch is off.
    Off,
}

impl Extra {
    const ALL: [Extra; 4] = [Extra::Nothing, Extra::Margin, Extra::Rows, Extra::Off];

    fn loss(self, classes: usize, biased: bool) -> Descriptor {
        let text = include_str!("../../../benches/kernels/ib.txt").replace("CLASSES", &classes.to_string());
        let text = text.replace("reduction mean\n", "reduction mean\nignore -100\ncheck_labels\n");
        let text = if biased { text.replace("class_weights\n", "class_weights logit_bias\n") } else { text };
        let text = match self {
            Extra::Nothing => text,
            Extra::Margin => text.replace("class_weights", "class_weights label_margin"),
            Extra::Rows => text
                .replace("class_weights", "class_weights loss_grad")
                .replace("features_grad\n", "features_grad row_loss 4 12\n")
                .replace("reduction mean", "reduction none")
                .replace("count\ndiv 8 9", "loss_grad\nmul 8 9")
                .replace("share", "row_loss"),
            Extra::Off => {
                text.replace("class_weights", "class_weights enabled") + "off share=11 others=3 by_norm=19\n"
            }
        };
        parse(&text).unwrap()
    }
}

/// All that the influence-balanced loss makes of a batch; with a bias of 0 its rows are not taken in one piece.
fn influence(extra: Extra, z: &[f32], h: &[f32], labels: &[i64], isa: Isa, biased: bool) -> [Vec<f32>; 6] {
    let (n, classes) = (labels.len(), z.len() / labels.len());
    let loss = extra.loss(classes, biased);
    let (weights, bias) = (vec![1.5_f32; classes], vec![0.0_f32; classes]);
    let [margins, factors] = [classes, n].map(|count| (0..count).map(|k| 0.1 * k as f32).collect::<Vec<_>>());
    let inputs = Inputs {
        class_weights: Some(Scalars::F32(&weights)),
        logit_bias: biased.then_some(Scalars::F32(&bias)),
        label_margin: (extra == Extra::Margin).then_some(Scalars::F32(&margins)),
        loss_grad: (extra == Extra::Rows).then_some(Scalars::F32(&factors)),
        enabled: extra != Extra::Off,
        ..batch(z, labels, h)
    };
    let rows = extra == Extra::Rows;
    let losses = if rows { n } else { 1 };
    let mut out = [losses, z.len(), h.len(), n, n, n].map(|len| vec![9.0; len]);
    let [total, z_grad, h_grad, row_loss, entries @ ..] = &mut out;
    let outputs = Outputs {
        loss: Some(total),
        logits_grad: Some(z_grad),
        features_grad: Some(h_grad),
        row_loss: rows.then_some(row_loss),
        entries: entries.iter_mut().filter(|_| rows).map(Vec::as_mut_slice).collect(),
    };
    run(&loss, &inputs, outputs, &Threads, isa).unwrap();
    out
}

#[test]
fn rows_of_one_part_are_as_rows_in_general() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let shapes = if cfg!(miri) {
        vec![(10, 7)]
    } else {
        vec![(1, 3), (2, 0), (10, 64), (33, 7), (130, 100), (1000, 5)]
    };
    for (classes, width) in shapes {
        let n = 37;
        let single = |x: Vec<f64>| x.into_iter().map(|x| x as f32).collect::<Vec<f32>>();
        let (z, h) = (single(logits(n * classes)), single(logits(n * width)));
        let mut labels: Vec<i64> = (0..n).map(|i| ((i * 7919) % classes) as i64).collect();
        let finite = labels.clone();
        (labels[3], labels[20]) = (-100, classes as i64);
        let (mut odd_z, mut odd_h) = (z.clone(), h.clone());
        for (row, value) in [(5, nan), (6, inf), (7, -inf), (8, nan), (9, -inf), (10, inf)] {
            // The label of a row, or the class after it; and every class.
            let label = labels[row] as usize;
            odd_z[row * classes + (label + row % 2) % classes] = value;
            odd_z[(25 + row) * classes..(26 + row) * classes].fill(value);
            if width > 0 {
                odd_h[(10 + row) * width + row % width] = value;
            }
        }
        for (isa, extra) in Isa::supported().into_iter().flat_map(|isa| Extra::ALL.map(|extra| (isa, extra)))
        {
            for (z, h, labels) in [(&z, &h, &finite), (&odd_z, &odd_h, &labels)] {
                let [short, general] = [false, true].map(|b| influence(extra, z, h, labels, isa, b));
                for (short, general) in short.iter().flatten().zip(general.iter().flatten()) {
                    let close = (short - general).abs() <= FLOAT32 as f32 * general.abs();
                    assert!(
                        close || short.is_nan() && general.is_nan() || short == general,
                        "{classes} {extra:?} {isa:?}: {short} {general}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_certain_label_has_no_gradient_however_steep_the_loss_is() {
    // The slope of ln q is infinite where q is 0.
    let text = |extra: &str| {
        format!(
            "ibgraph-loss 1\nclasses 3\ninputs logits labels{extra}\noutputs loss logits_grad\nreduction mean\nnll\nq\n\
             const 1.0\ndiv 2 1\non share=0 others=3 label=1\n"
        )
    };
    let inf = f32::INFINITY;
    let z = [-inf, 5.0, -inf, 1.0, inf, 0.0];
    for isa in Isa::supported() {
        for biased in [false, true] {
            let loss = parse(&text(if biased { " logit_bias" } else { "" })).unwrap();
            let (mut total, mut grad) = ([9.0_f32], [9.0_f32; 6]);
            let inputs =
                Inputs { logit_bias: biased.then_some(Scalars::F32(&[0.0; 3])), ..batch(&z, &[1, 1], &[]) };
            let outputs = Outputs {
                loss: Some(&mut total),
                logits_grad: Some(&mut grad),
                features_grad: None,
                row_loss: None,
                entries: Vec::new(),
            };
            run(&loss, &inputs, outputs, &Serial, isa).unwrap();
            assert_eq!((total, grad), ([0.0], [0.0; 6]), "{isa:?}, biased: {biased}");
        }
    }
}
