//! Reports: results for people and for other programs, and the comparison of two of them.
//!
//! Last room of the flow. Invariant: every form shows the same figures, those of the cold series, and shows every arm
//! that has none with its reason.

mod action;
mod compare;
mod csv;
mod html;
mod markdown;
mod read;
mod text;

pub use action::action;
pub use compare::{Compared, Comparison, Refusal, Verdict, compare};
pub use csv::csv;
pub use html::html;
pub use markdown::{comparison as comparison_markdown, markdown};
pub use read::{ReadError, read};
pub use text::seconds;
