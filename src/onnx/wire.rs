//! Protobuf fields as byte ranges, so that a message can be changed in one place and copied everywhere else.

use std::ops::Range;

/// A field of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its number in the schema.
    pub number: u64,
    /// Its bytes in the message, key and length included.
    pub whole: Range<usize>,
    /// Its content, where it is length-delimited (a string, bytes or a message).
    pub content: Option<Range<usize>>,
}

/// The fields of `message` in order; `None` where it is cut off or no protobuf.
pub fn fields(message: &[u8]) -> Option<Vec<Field>> {
    Fields::new(message).collect()
}

/// The fields of a message one by one; the last is `None` where the message is cut off or no protobuf.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// The fields of `message`.
    pub fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0 }
    }

    fn field(&mut self) -> Option<Field> {
        let (message, start) = (self.message, self.at);
        let mut at = start;
        let key = varint(message, &mut at)?;
        let mut content = None;
        match key & 7 {
            0 => {
                varint(message, &mut at)?;
            }
            1 => at = at.checked_add(8)?,
            2 => {
                let length = usize::try_from(varint(message, &mut at)?).ok()?;
                let end = at.checked_add(length)?;
                content = Some(at..end);
                at = end;
            }
            5 => at = at.checked_add(4)?,
            _ => return None,
        }
        if at > message.len() {
            return None;
        }
        self.at = at;
        Some(Field { number: key >> 3, whole: start..at, content })
    }
}

impl Iterator for Fields<'_> {
    type Item = Option<Field>;

    fn next(&mut self) -> Option<Option<Field>> {
        if self.at >= self.message.len() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.at = self.message.len();
        }
        Some(field)
    }
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Appends a length-delimited field.
pub fn push_field(out: &mut Vec<u8>, number: u64, content: &[u8]) {
    push_header(out, number, content.len());
    out.extend_from_slice(content);
}

/// Appends what stands before the content of a length-delimited field.
pub fn push_header(out: &mut Vec<u8>, number: u64, length: usize) {
    push_varint(out, number << 3 | 2);
    push_varint(out, length as u64);
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_cover_the_message() {
        let mut message = vec![0x08, 0x96, 0x01];
        push_field(&mut message, 7, &[1; 300]);
        let found = fields(&message).unwrap();
        assert_eq!(found[0].number, 1);
        assert_eq!(found[1].number, 7);
        assert_eq!(found[1].content.as_ref().unwrap().len(), 300);
        assert_eq!(found[1].whole.end, message.len());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(found) = fields(&bytes) {
                prop_assert!(found.iter().all(|f| f.whole.end <= bytes.len()));
            }
        }
    }
}
