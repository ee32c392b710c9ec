//! Attributes of nodes.

use super::messages::{ATTRIBUTE_INT, ATTRIBUTE_INTS, AttributeProto};

/// An integer.
pub fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        i: Some(value),
        r#type: Some(ATTRIBUTE_INT),
        ..AttributeProto::default()
    }
}

/// A list of integers.
pub fn integers(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        ints: values.to_vec(),
        r#type: Some(ATTRIBUTE_INTS),
        ..AttributeProto::default()
    }
}
