//! Prints the CUDA source of a loss, for compilers: `cuda_source TYPE [SHAPE] < TEXT`, where TEXT is a node's attribute
//! `loss`, TYPE is f32, f64, f16 or bf16, and SHAPE is warp, block or streamed instead of what suits the loss.

use std::io::Read;

use ibgraph_ops::cuda::{Kind, Plan, Shape, Types, source};
use ibgraph_ops::descriptor::parse;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let loss = parse(&text)?;
    let element = match std::env::args().nth(1).as_deref() {
        Some("f32") => Kind::F32,
        Some("f64") => Kind::F64,
        Some("f16") => Kind::F16,
        Some("bf16") => Kind::BF16,
        _ => return Err("name a type: f32, f64, f16 or bf16".into()),
    };
    // As in the files that ibgraph writes: tables are float64, what is fed is float32 except in float64 graphs.
    let tables = ["class_weights", "logit_bias", "label_margin"];
    let names = text.lines().find_map(|line| line.strip_prefix("inputs ")).unwrap_or("");
    let double = names.split(' ').map(|n| element == Kind::F64 || tables.contains(&n)).collect();
    let plan = match std::env::args().nth(2).as_deref() {
        None => Plan::new(loss.classes, element),
        Some("warp") => Plan::shaped(Shape::Warp, loss.classes, element),
        Some("block") => Plan::shaped(Shape::Block, loss.classes, element),
        Some("streamed") => Plan::shaped(Shape::Streamed, loss.classes, element),
        Some(_) => return Err("name a shape: warp, block or streamed".into()),
    };
    print!("{}", source(&loss, &Types { element, long_labels: true, double }, &plan));
    Ok(())
}
