//! What the counts mean over time. Numbers in, numbers out.
//!
//! Pure: `now` is an argument. Does not know: workers, metrics, who acts on it.

use crate::mcp::Method;
use crate::route::tools::ToolLabel;

pub mod window;

mod mix;

mod bucket;

mod at_risk;

mod process;

mod promotion;

mod trail;

mod interval;

pub mod sequential;

/// What is compared: a method, and for tools/call the tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stratum {
    /// The JSON-RPC method.
    pub method: Method,
    /// The tool, for `tools/call`.
    pub tool: ToolLabel,
}
