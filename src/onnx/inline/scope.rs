//! A node of a function's body as a node of the graph: other names, and the call's attributes.

use std::collections::{HashMap, HashSet};

use super::super::Names;
use super::super::slim::SlimError;
use super::super::wire::{Fields, push_field};
use super::functions::contents;

/// What the names and attributes in a function's body stand for.
pub(super) struct Scope {
    /// What names of inner values begin with.
    pub prefix: String,
    /// Names in the graph by names in the body; empty for an input that is left out.
    pub names: HashMap<String, String>,
    /// Encoded attributes of the call, or their defaults, by name.
    pub attributes: HashMap<String, Vec<u8>>,
}

impl Scope {
    /// The graph's name of a value of the body. What is not known stays, for the structure's check to refuse.
    pub fn name(&self, inner: &str) -> String {
        self.names.get(inner).map_or(inner, String::as_str).to_owned()
    }

    /// A node with the graph's names.
    pub fn node(&mut self, bytes: &[u8], names: &mut Names) -> Result<Vec<u8>, SlimError> {
        rewritten(bytes, |number, content, out| {
            match number {
                1 | 2 => push_field(out, number, self.name(utf8(content)?).as_bytes()),
                3 => {
                    push_field(out, 3, names.give(&format!("{}/{}", self.prefix, utf8(content)?)).as_bytes())
                }
                5 => {
                    if let Some(attribute) = self.attribute(content, names)? {
                        push_field(out, 5, &attribute);
                    }
                }
                _ => return Ok(false),
            }
            Ok(true)
        })
    }

    /// An attribute with the value of the call's where it refers to one; `None` where the call has none and neither has
    /// the function a default, so that the operator's own default holds.
    pub fn attribute(&mut self, bytes: &[u8], names: &mut Names) -> Result<Option<Vec<u8>>, SlimError> {
        let (name, reference) = (text(bytes, 1)?, text(bytes, 21)?);
        if !reference.is_empty() {
            let Some(value) = self.attributes.get(reference) else { return Ok(None) };
            let mut out = Vec::new();
            push_field(&mut out, 1, name.as_bytes());
            let value = rewritten(value, |number, _, _| Ok(number == 1))?;
            out.extend_from_slice(&value);
            return Ok(Some(out));
        }
        let copied = rewritten(bytes, |number, content, out| {
            // A subgraph, or a list of them.
            if !matches!(number, 6 | 11) {
                return Ok(false);
            }
            let graph = self.graph(content, names)?;
            push_field(out, number, &graph);
            Ok(true)
        })?;
        Ok(Some(copied))
    }

    /// A subgraph, all of whose values get new names: what it makes may not hide what the graph has.
    fn graph(&mut self, bytes: &[u8], names: &mut Names) -> Result<Vec<u8>, SlimError> {
        let mut hidden = Vec::new();
        for name in made_in(bytes)? {
            let new = names.give(&format!("{}/{name}", self.prefix));
            let old = self.names.insert(name.clone(), new);
            hidden.push((name, old));
        }
        let out = rewritten(bytes, |number, content, out| {
            let message = match number {
                1 => self.node(content, names)?,
                5 => renamed(content, 8, self)?,
                11..=13 => renamed(content, 1, self)?,
                15 => rewritten(content, |number, values, out| match number {
                    1 => {
                        push_field(out, 1, &renamed(values, 8, self)?);
                        Ok(true)
                    }
                    _ => Ok(false),
                })?,
                _ => return Ok(false),
            };
            push_field(out, number, &message);
            Ok(true)
        })?;
        for (name, old) in hidden.into_iter().rev() {
            match old {
                Some(old) => self.names.insert(name, old),
                None => self.names.remove(&name),
            };
        }
        Ok(out)
    }
}

/// Names of all values that a graph has of its own: inputs, initializers, and what its nodes make.
fn made_in(graph: &[u8]) -> Result<Vec<String>, SlimError> {
    let mut found = Vec::new();
    let mut add = |name: &str| {
        if !name.is_empty() {
            found.push(name.to_owned());
        }
    };
    for node in contents(graph, 1)? {
        contents(node, 2)?.into_iter().try_for_each(|name| utf8(name).map(&mut add))?;
    }
    for tensor in contents(graph, 5)? {
        add(text(tensor, 8)?);
    }
    for input in contents(graph, 11)? {
        add(text(input, 1)?);
    }
    for sparse in contents(graph, 15)? {
        for values in contents(sparse, 1)? {
            add(text(values, 8)?);
        }
    }
    // An initializer may give an input its default, and has its name then.
    let mut known = HashSet::new();
    found.retain(|name| known.insert(name.clone()));
    Ok(found)
}

/// A message whose field `number` is a name, with the graph's.
fn renamed(bytes: &[u8], number: u64, scope: &Scope) -> Result<Vec<u8>, SlimError> {
    rewritten(bytes, |found, content, out| {
        if found == number {
            push_field(out, number, scope.name(utf8(content)?).as_bytes());
        }
        Ok(found == number)
    })
}

/// A message whose length-delimited fields may be replaced: `replace` is given a field's number and content and where to
/// write, and says whether it took the field; what it leaves is copied.
fn rewritten(
    bytes: &[u8],
    mut replace: impl FnMut(u64, &[u8], &mut Vec<u8>) -> Result<bool, SlimError>,
) -> Result<Vec<u8>, SlimError> {
    let mut out = Vec::with_capacity(bytes.len());
    for field in Fields::new(bytes) {
        let field = field.ok_or(SlimError::Malformed)?;
        let taken = match field.content {
            Some(content) => replace(field.number, &bytes[content], &mut out)?,
            None => false,
        };
        if !taken {
            out.extend_from_slice(&bytes[field.whole]);
        }
    }
    Ok(out)
}

/// A string field, of which the last counts; empty where there is none.
pub(super) fn text(message: &[u8], number: u64) -> Result<&str, SlimError> {
    contents(message, number)?.last().map_or(Ok(""), |content| utf8(content))
}

fn utf8(bytes: &[u8]) -> Result<&str, SlimError> {
    std::str::from_utf8(bytes).map_err(|_| SlimError::Malformed)
}
