//! ibgraph: a loss-graph compiler and benchmark harness for ONNX.
//!
//! A loss is a formula. This crate compiles it, forward and backward, to an ONNX graph in standard operators, and
//! checks the graph against a float64 reference. The way from one to the other, a room a module:
//!
//! 1. [`loss`]: a YAML formula and options become a [`loss::Loss`]; [`loss::reference`] evaluates it in float64.
//! 2. [`row`]: the loss of one sample becomes scalar steps, with its derivatives by the margin and the feature norm.
//! 3. [`lower`]: those steps, and the tensor work around them, become a [`graph::Graph`].
//! 4. [`onnx`]: a graph becomes the bytes of a model file. [`artifact`] runs steps 2 to 4, and opens such files.
//! 5. [`runtime`]: engines that run model files: ONNX Runtime, loaded at run time, and one that is built in.
//! 6. [`check`]: a model file is compared with the reference on an engine.
//! 7. [`graft`]: a graph is attached to a user's classifier, whose bytes stay as they are; with [`autodiff`] also the
//!    backward pass of the whole classifier.
//! 8. [`train`]: optimizers as graphs, and the loop that runs a training graph; [`npz`] holds parameters, state and data.
//! 9. [`mod@bench`]: model files and other programs are measured side by side; [`report`] shows and compares what came out.
//!
//! A stage imports only earlier stages, but for two that share: [`graft`] puts the updates of [`train`] on a classifier, and
//! [`train`] names its ports by [`graft::Names`]. [`cli`] stands after all of them, and is the only one that prints, reads the
//! environment or decides exit codes.
//!
//! ```
//! use ibgraph::loss::{Interface, Loss, builtin};
//!
//! let spec = builtin::load("ib").expect("ib is built in")?;
//! let interface = Interface::new(100, &spec);
//! let loss = Loss::new(spec, interface, None)?;
//! let bytes = ibgraph::artifact::emit(&loss, ibgraph::onnx::Versions::default())?;
//! assert!(bytes.len() < 10_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod artifact;
pub mod autodiff;
pub mod bench;
pub mod check;
pub mod cli;
pub mod graft;
pub mod graph;
pub mod loss;
pub mod lower;
pub mod npz;
pub mod onnx;
pub mod report;
pub mod row;
pub mod runtime;
pub mod tensor;
pub mod train;
