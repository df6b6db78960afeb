//! tidegate: a traffic-splitting reverse proxy for MCP servers.
//!
//! Two versions of one MCP server stand behind it. New work is split between them by weight; what
//! belongs together stays on one version; and an operator moves the weights while traffic flows.
//!
//! # Code map
//!
//! In the order in which a request meets them. A module may use those above it, `app` everyone;
//! `tests/it/tidy.rs` holds the table of who may use whom.
//!
//! | module | what it is |
//! |---|---|
//! | [`names`] | arms, splits, endpoints: the words, true by construction |
//! | [`drain`] | ending things in order, with a deadline |
//! | [`config`] | the checked configuration, and every problem of an unchecked one |
//! | [`mcp`] | which message is this; pure |
//! | [`route`] | which arm and endpoint; pure |

pub mod names;

pub mod drain;

pub mod config;

pub mod mcp;

pub mod route;
