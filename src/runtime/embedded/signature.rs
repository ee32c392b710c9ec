//! The names and element types of a model's inputs and outputs, read from its bytes.
//!
//! `rten` forgets the types it converts, so they are read here: five nested fields of the ONNX protobuf, walked in
//! place, without copying a weight. Every length is checked against the bytes that are there.

/// An input or output of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) name: String,
    /// `TensorProto.DataType`; `None` where the model leaves it open or the value is no tensor.
    pub(super) elem_type: Option<i32>,
}

/// Inputs (initializers that are also inputs included) and outputs, in the order of the model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Signature {
    pub(super) inputs: Vec<Value>,
    pub(super) outputs: Vec<Value>,
}

/// Numbers of the fields read: ModelProto.graph, GraphProto.input and .output, ValueInfoProto.name and .type,
/// TypeProto.tensor_type, TypeProto.Tensor.elem_type.
mod field {
    pub(super) const GRAPH: u64 = 7;
    pub(super) const INPUT: u64 = 11;
    pub(super) const OUTPUT: u64 = 12;
    pub(super) const NAME: u64 = 1;
    pub(super) const TYPE: u64 = 2;
    pub(super) const TENSOR_TYPE: u64 = 1;
    pub(super) const ELEM_TYPE: u64 = 1;
}

impl Signature {
    /// Reads a serialised `ModelProto`. The error says that the bytes are none.
    pub(super) fn read(model: &[u8]) -> Result<Signature, String> {
        let mut signature = Signature::default();
        let mut has_graph = false;
        for item in (Message { rest: model }) {
            if let (field::GRAPH, Payload::Bytes(graph)) = item? {
                has_graph = true;
                signature.read_graph(graph)?;
            }
        }
        if has_graph {
            Ok(signature)
        } else {
            Err("these bytes are no ONNX model: they hold no graph".to_owned())
        }
    }

    fn read_graph(&mut self, graph: &[u8]) -> Result<(), String> {
        for item in (Message { rest: graph }) {
            match item? {
                (field::INPUT, Payload::Bytes(value)) => self.inputs.push(Value::read(value)?),
                (field::OUTPUT, Payload::Bytes(value)) => self.outputs.push(Value::read(value)?),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Value {
    fn read(value: &[u8]) -> Result<Value, String> {
        let mut name = String::new();
        let mut elem_type = None;
        for item in (Message { rest: value }) {
            match item? {
                (field::NAME, Payload::Bytes(text)) => {
                    name = String::from_utf8_lossy(text).into_owned();
                }
                (field::TYPE, Payload::Bytes(kind)) => elem_type = tensor_elem_type(kind)?,
                _ => {}
            }
        }
        Ok(Value { name, elem_type })
    }
}

fn tensor_elem_type(kind: &[u8]) -> Result<Option<i32>, String> {
    let mut elem_type = None;
    for item in (Message { rest: kind }) {
        let (field::TENSOR_TYPE, Payload::Bytes(tensor)) = item? else {
            continue;
        };
        for item in (Message { rest: tensor }) {
            if let (field::ELEM_TYPE, Payload::Varint(code)) = item? {
                elem_type = i32::try_from(code).ok().filter(|&code| code != 0);
            }
        }
    }
    Ok(elem_type)
}

/// What a field holds.
pub(super) enum Payload<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// A fixed 4- or 8-byte number, of which none is read here.
    Fixed,
}

/// Iterates over the fields of a protobuf message: number and payload.
pub(super) struct Message<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Message<'a> {
    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(count).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    /// Base-128 number, at most 64 bits in 10 bytes.
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn field(&mut self) -> Option<(u64, Payload<'a>)> {
        let key = self.varint()?;
        let payload = match key & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => self.take(8).map(|_| Payload::Fixed)?,
            2 => {
                let length = self.varint()?;
                Payload::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Payload::Fixed)?,
            _ => return None,
        };
        Some((key >> 3, payload))
    }
}

impl<'a> Iterator for Message<'a> {
    type Item = Result<(u64, Payload<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or_else(|| "these bytes are no ONNX model, or not all of one".to_owned()))
    }
}
