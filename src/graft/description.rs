//! What a graft says of itself in the file's metadata.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Key of the description in `metadata_props`.
pub const METADATA: &str = "ibgraph.graft";
/// Version of the description that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// The JSON text under [`METADATA`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Description {
    /// Version of this form.
    pub format: u32,
    /// Name of the [`super::Kind`].
    pub emit: String,
    /// The loss's inputs by name, and what they are called in the file.
    pub inputs: IndexMap<String, String>,
    /// The loss's outputs.
    pub outputs: IndexMap<String, String>,
    /// Values on the loss's side of a conversion, for inputs and outputs that have one.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub cast: IndexMap<String, String>,
    /// Tables that the loss stores.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub stored: IndexMap<String, String>,
    /// The specification, as an emitted file has it.
    pub loss: serde_json::Value,
}
