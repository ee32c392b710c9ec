//! Prints the CUDA source of a loss, for compilers: `cuda_source TYPE SHAPE DOUBLES < TEXT`, where TEXT is a node's attribute
//! `loss`; TYPE is f32, f64, f16 or bf16; SHAPE is warp, block, streamed, or `-` for what suits the loss; and DOUBLES are
//! the numbers of the inputs that are float64 besides, such as `2,3`, or `-`.

use ibgraph_ops::cuda::{Kind, Plan, Shape, Types, source};
use ibgraph_ops::descriptor::parse;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [element, shape, doubles] = arguments.as_slice() else {
        return Err("name a type, a shape or `-`, and the inputs that are float64 or `-`".into());
    };
    let loss = parse(&std::io::read_to_string(std::io::stdin())?)?;
    let element = match element.as_str() {
        "f32" => Kind::F32,
        "f64" => Kind::F64,
        "f16" => Kind::F16,
        "bf16" => Kind::BF16,
        _ => return Err("name a type: f32, f64, f16 or bf16".into()),
    };
    let shaped = |shape| Plan::shaped(shape, loss.classes, element);
    let plan = match shape.as_str() {
        "-" => Plan::new(loss.classes, element),
        "warp" => shaped(Shape::Warp),
        "block" => shaped(Shape::Block),
        "streamed" => shaped(Shape::Streamed),
        _ => return Err("name a shape: warp, block, streamed or `-`".into()),
    };
    let double = (0..loss.inputs.len()).map(|k| doubles.split(',').any(|d| d == k.to_string())).collect();
    print!("{}", source(&loss, &Types { element, long_labels: true, double }, &plan));
    Ok(())
}
