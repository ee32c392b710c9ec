//! The loss out of a grafted file, as a file of its own: what `ibgraph check` can compare with the reference.
//!
//! The nodes are those of the file, taken back from the loss's outputs to its inputs; nothing is compiled anew, so that
//! what is checked is what was grafted.

use std::collections::{HashMap, HashSet};

use prost::Message;
use serde::Deserialize;

use super::attach::Kind;
use super::description::{Description, FORMAT, METADATA};
use crate::loss::metadata::{self, MetadataError};
use crate::loss::{Loss, Port, Tables};
use crate::onnx::messages::{
    GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto, ValueInfoProto,
};
use crate::onnx::{Host, ReadError, loss_port};
use crate::tensor::Tensor;

/// A grafted loss that cannot be taken out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The description is damaged.
    #[error("the description of the graft in the file's metadata ({METADATA}) is damaged: {0}")]
    Description(#[from] serde_json::Error),
    /// From a newer program.
    #[error(
        "the description of the graft has format {0}, and this ibgraph reads up to {FORMAT}; update ibgraph"
    )]
    TooNew(u32),
    /// The backward of a whole model, in which the loss's own gradients are no outputs.
    #[error(
        "the file has the backward of the whole model (--emit {0}); check the loss of a graft with --emit loss-grad"
    )]
    Training(String),
    /// The specification in it is damaged.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A tensor of the loss does not read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What every description has.
#[derive(Deserialize)]
struct DescribedKind {
    format: u32,
    emit: String,
}

/// The grafted loss of a file as the bytes of a model of its own; `None` where the file has no graft.
///
/// # Errors
/// Descriptions that are damaged, newer, or do not fit the graph.
pub fn extract(host: &Host<'_>) -> Result<Option<Vec<u8>>, ExtractError> {
    let Some(text) = host.metadata(METADATA) else {
        return Ok(None);
    };
    let kind: DescribedKind = serde_json::from_str(text)?;
    if kind.format > FORMAT {
        return Err(ExtractError::TooNew(kind.format));
    }
    if ![Kind::Loss, Kind::LossGrad].map(Kind::name).contains(&kind.emit.as_str()) {
        return Err(ExtractError::Training(kind.emit));
    }
    let description: Description = serde_json::from_str(text)?;
    let part = Part::new(host, &description);
    let initializer = part.initializers(host)?;
    let table = |name: &str| -> Result<Option<Vec<f64>>, ReadError> {
        let found = initializer.iter().find(|tensor| tensor.name.as_deref() == Some(name));
        Ok(found.map(Tensor::try_from).transpose()?.map(|tensor| tensor.to_f64_vec()))
    };
    let tables = Tables {
        class_weights: table(metadata::CLASS_WEIGHTS)?,
        logit_bias: table(metadata::LOGIT_BIAS)?,
        label_margin: table(metadata::LABEL_MARGIN)?,
    };
    let loss = metadata::from_json(&description.loss.to_string(), tables)?;
    let graph = GraphProto {
        name: Some(loss.spec().name.clone()),
        node: part.nodes.iter().map(|node| part.renamed(node)).collect(),
        input: ports(loss.inputs()),
        output: ports(loss.outputs()),
        initializer,
        ..GraphProto::default()
    };
    Ok(Some(model(host, &loss, graph)?.encode_to_vec()))
}

fn ports(ports: Vec<Port>) -> Vec<ValueInfoProto> {
    ports.iter().map(loss_port).collect()
}

fn model(host: &Host<'_>, loss: &Loss, graph: GraphProto) -> Result<ModelProto, MetadataError> {
    let entry =
        StringStringEntryProto { key: Some(metadata::KEY.to_owned()), value: Some(metadata::to_json(loss)?) };
    Ok(ModelProto {
        ir_version: host.model().ir_version,
        graph: Some(graph),
        opset_import: host.model().opset_import.clone(),
        metadata_props: vec![entry],
        ..ModelProto::default()
    })
}

/// The loss's part of the graph.
struct Part<'a> {
    /// In the file's order.
    nodes: Vec<&'a NodeProto>,
    /// What they read that none of them makes.
    read: HashSet<&'a str>,
    /// The file's names of the loss's ports and tables, and the loss's.
    names: HashMap<&'a str, &'a str>,
}

impl<'a> Part<'a> {
    fn new(host: &'a Host<'_>, description: &'a Description) -> Self {
        let side = |(ours, theirs): (&'a String, &'a String)| {
            (description.cast.get(ours).unwrap_or(theirs).as_str(), ours.as_str())
        };
        let inputs: HashMap<&str, &str> = description.inputs.iter().map(side).collect();
        let outputs: HashMap<&str, &str> = description.outputs.iter().map(side).collect();
        let mut read: HashSet<&str> = outputs.keys().copied().collect();
        let mut nodes = Vec::new();
        for node in host.graph().node.iter().rev() {
            let wanted = node.output.iter().any(|output| read.contains(output.as_str()));
            let ends = node.output.iter().any(|output| inputs.contains_key(output.as_str()));
            if wanted && !ends {
                read.extend(node.input.iter().map(String::as_str));
                nodes.push(node);
            }
        }
        nodes.reverse();
        let mut names = inputs;
        names.extend(outputs);
        names.extend(description.stored.iter().map(|(ours, theirs)| (theirs.as_str(), ours.as_str())));
        Self { nodes, read, names }
    }

    fn name(&self, theirs: &str) -> String {
        self.names.get(theirs).map_or(theirs, |ours| ours).to_owned()
    }

    fn renamed(&self, node: &NodeProto) -> NodeProto {
        let names = |names: &[String]| names.iter().map(|name| self.name(name)).collect();
        NodeProto { input: names(&node.input), output: names(&node.output), ..node.clone() }
    }

    /// What the loss stores, with its data.
    fn initializers(&self, host: &Host<'_>) -> Result<Vec<TensorProto>, ReadError> {
        let known = host.graph().initializer.iter().zip(host.initializer_ranges());
        let wanted = known.filter(|(tensor, _)| {
            let name = tensor.name.as_deref().unwrap_or("");
            // An input of the loss may be stored in the classifier; it is fed when the loss is checked.
            self.read.contains(name) && !self.is_input(name)
        });
        wanted
            .map(|(tensor, range)| {
                let whole = TensorProto::decode(&host.bytes()[range]);
                let whole = whole.map_err(|error| ReadError::Protobuf { what: "tensor", error })?;
                Ok(TensorProto { name: tensor.name.as_deref().map(|name| self.name(name)), ..whole })
            })
            .collect()
    }

    fn is_input(&self, theirs: &str) -> bool {
        self.names.get(theirs).is_some_and(|ours| ["logits", "features", "labels"].contains(ours))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graft::attach::tests::grafted_bytes;
    use crate::graft::models::{F16, F32, graph, model, node, port, stored};
    use crate::{artifact, onnx};

    #[test]
    fn the_loss_comes_out_as_it_went_in() {
        let nodes = [node("Gemm", &["x", "w", "b"], "z")];
        let bytes = model(graph(&nodes, &[port("z", F32, &["n", "3"])]));
        let loss = crate::graft::attach::tests::weighted();
        let grafted = onnx_bytes(&grafted_bytes(&bytes, &loss, None).unwrap());
        let out = extract(&Host::read(&grafted).unwrap()).unwrap().unwrap();
        let opened = artifact::open(&out).unwrap();
        assert_eq!(opened.loss.interface(), loss.interface());
        assert_eq!(opened.loss.class_weights(), loss.class_weights());
        assert_eq!(opened.loss.spec().loss.text, loss.spec().loss.text);
        // The same nodes as in a file of its own, under other names.
        let own = artifact::open(&artifact::emit(&loss, onnx::Versions::default()).unwrap()).unwrap();
        let ops = |graph: &GraphProto| graph.node.iter().map(|n| n.op_type.clone()).collect::<Vec<_>>();
        assert_eq!(ops(opened.graph()), ops(own.graph()));
        assert!(extract(&Host::read(&bytes).unwrap()).unwrap().is_none());
    }

    #[test]
    fn conversions_stay_outside() {
        let mut cast = node("Cast", &["half"], "z");
        cast.attribute = vec![onnx::attributes::integer("to", 1)];
        let mut mixed = graph(&[node("Gemm", &["h", "v"], "half"), cast], &[port("z", F32, &["n", "3"])]);
        mixed.input = vec![port("h", F16, &["n", "5"])];
        mixed.initializer = vec![stored("v", F16, &[5, 3])];
        let grafted = crate::graft::attach::tests::grafted_at(&model(mixed), Some("z"));
        let out = extract(&Host::read(&onnx_bytes(&grafted)).unwrap()).unwrap().unwrap();
        Host::read(&out).unwrap();
        assert!(artifact::open(&out).is_ok());
    }

    #[test]
    fn damaged_descriptions_are_told() {
        for (text, message) in [("{", "is damaged"), (r#"{"format":1}"#, "is damaged")] {
            let nodes = [node("Gemm", &["x", "w", "b"], "z")];
            let mut broken = onnx::read(&model(graph(&nodes, &[port("z", F32, &["n", "3"])]))).unwrap();
            let entry = StringStringEntryProto { key: Some(METADATA.into()), value: Some(text.into()) };
            broken.metadata_props = vec![entry];
            let bytes = onnx_bytes(&broken);
            let error = extract(&Host::read(&bytes).unwrap()).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    fn onnx_bytes(model: &ModelProto) -> Vec<u8> {
        model.encode_to_vec()
    }
}
