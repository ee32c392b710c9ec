//! What the decoder takes and refuses.

use super::*;

const CROSS_ENTROPY: &str = "ibgraph-loss 1
classes 5
inputs logits labels
outputs loss logits_grad 0
reduction mean
nll
count
div 0 1
q
div 3 1
on share=2 others=4
";

fn error(from: &str, to: &str) -> String {
    assert!(CROSS_ENTROPY.contains(from), "{from}");
    parse(&CROSS_ENTROPY.replacen(from, to, 1)).unwrap_err().to_string()
}

#[test]
fn a_loss_reads() {
    let loss = parse(CROSS_ENTROPY).unwrap();
    assert_eq!(loss.outputs, [Output::Loss, Output::LogitsGrad, Output::Entry(0)]);
    assert_eq!(loss.steps[2], Step::Binary(Binary::Div, 0, 1));
    assert_eq!((loss.scale, loss.ignore_index, loss.check_labels), (1.0, None, false));
    assert_eq!(loss.on.others, Some(4));
}

#[test]
fn a_newer_format_says_what_to_do() {
    assert!(error("loss 1", "loss 2").contains("format 2, and this library reads up to 1"));
    assert!(error("ibgraph-loss 1", "").contains("line 1: this is no loss that ibgraph wrote"));
}

#[test]
fn steps_use_earlier_steps_only() {
    assert!(error("div 0 1", "div 0 2").contains("line 8: step 2 uses step 2"));
    assert!(error("div 0 1", "div 0 -1").contains("`-1` is not a number"));
    assert!(error("div 0 1", "div 0").contains("no step is named `div` with 1 operands"));
    assert!(error("div 0 1", "frobnicate 0").contains("no step is named `frobnicate`"));
    assert!(error("nll", ":alpha").contains("no parameter `alpha`"));
}

#[test]
fn roots_and_outputs_are_steps() {
    assert!(error("share=2", "share=5").contains("a root is step 5"));
    assert!(error("share=2", "").contains("the root `share` is missing"));
    assert!(error(" others=4", "").contains("the root `others` is missing"));
    assert!(error("logits_grad 0", "logits_grad 7").contains("an output is step 7"));
    assert!(error("logits_grad 0", "loss").contains("two outputs are Loss"));
    assert!(error("logits_grad", "features_grad").contains("the input Features is missing"));
}

#[test]
fn options_are_checked() {
    assert!(error("classes 5", "classes 0").contains("0 classes"));
    assert!(error("classes 5", "classes 4294967296").contains("too many"));
    assert!(error("classes 5", "").contains("`classes` is missing"));
    assert!(error("reduction mean", "scale 0").contains("`reduction` is missing"));
    assert!(error("classes 5", "classes 5\nscale nan").contains("the scale is NaN"));
    assert!(error("inputs logits labels", "inputs logits logits labels").contains("two inputs are Logits"));
    assert!(error("inputs logits labels", "inputs logits").contains("the input Labels is missing"));
    assert!(error("inputs logits labels", "inputs logits labels :a :a").contains("two inputs are `:a`"));
    assert!(error("inputs logits labels", "inputs logits labels what").contains("no input is named `what`"));
}

#[test]
fn no_key_comes_twice() {
    for line in ["classes 5", "inputs logits labels", "outputs loss", "reduction mean", "on share=2 others=4"]
    {
        let text = CROSS_ENTROPY.to_owned() + line + "\n";
        let key = line.split(' ').next().unwrap();
        assert_eq!(
            parse(&text).unwrap_err().to_string(),
            format!("attribute `loss`, line 12: `{key}` comes twice")
        );
    }
    // A parameter of inputs that were taken back would be of no input.
    let text = CROSS_ENTROPY.replace("labels\n", "labels :a\ninputs logits labels\n").replace("count", ":a");
    assert!(parse(&text).unwrap_err().to_string().contains("line 4: `inputs` comes twice"));
}

#[test]
fn damaged_text_never_panics() {
    let bytes = CROSS_ENTROPY.as_bytes();
    for at in 0..bytes.len() {
        for with in [b' ', b'\n', b'9', b'-', b':', b'=', b'x'] {
            let mut damaged = bytes.to_vec();
            damaged[at] = with;
            let _ = parse(std::str::from_utf8(&damaged).unwrap());
        }
        let _ = parse(std::str::from_utf8(&bytes[..at]).unwrap());
        let _ = parse(std::str::from_utf8(&bytes[at..]).unwrap());
    }
}
