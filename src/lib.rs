//! tidegate: a traffic-splitting reverse proxy for MCP servers.
//!
//! Two versions of one MCP server stand behind it. New work is split between them by weight; what
//! belongs together stays on one version; an operator moves the weights while traffic flows; and
//! the router knows what became of every call, whose fault it was, and whether each version works.
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
//! | [`supervisor`] | what the service manager is told |
//! | [`descriptors`] | how many files and sockets the process may open |
//! | [`dns`] | names, and the endpoints that they stand for |
//! | [`overload`] | what is shed while memory is short |
//! | [`tls`] | certificates, and what each side has to show |
//! | [`config`] | the checked configuration, and every problem of an unchecked one |
//! | [`lifecycle`] | the operator's own commands that start and stop servers |
//! | [`listen`] | sockets, connections, HTTP/1.1 and HTTP/2 |
//! | [`mcp`] | which message is this; pure |
//! | [`route`] | which arm and endpoint; pure |
//! | [`upstream`] | the way to a server and back |
//! | [`observe`] | what happened, counted per worker |
//! | [`proxy`] | **read first**: one request from head to last byte |
//! | [`health`] | whether an endpoint works, by the handshake that clients make |
//! | [`validate`] | whether a version is fit for traffic: every check, one by one |
//! | [`judge`] | what the counts mean over time; pure |
//! | [`alerts`] | security alerts, and which of them still hold; pure |
//! | [`rollout`] | how a candidate's share rises, and what ends that; pure |
//! | [`simulate`] | rollouts on made-up traffic, to see what rules and plans are worth; pure |
//! | [`records`] | what outlives the process: the journal with the state in it, keys |
//! | [`report`] | what the records say of a rollout or a month, for people; pure |
//! | [`notify`] | tells other programs what has happened |
//! | [`control`] | the one writer of the routing table |
//! | [`metrics`] | every metric's name and meaning |
//! | [`plane`] | the control plane, one thread |
//! | [`admin`] | the admin socket and its client, the listeners of metrics and of Alertmanager |
//! | [`telemetry`] | log output |
//! | [`app`] | composition: binds everything, starts both planes, stops in reverse |
//! | [`demo`] | two small servers and a stream of clients, to see it work |
//! | [`cli`] | the command line |

pub mod names;

pub mod drain;

pub mod supervisor;

pub mod descriptors;

pub mod dns;

pub mod overload;

pub mod tls;

pub mod config;

pub mod lifecycle;

pub mod listen;

pub mod mcp;

pub mod route;

pub mod upstream;

pub mod observe;

pub mod proxy;

pub mod health;

pub mod validate;

pub mod judge;

pub mod alerts;

pub mod rollout;

pub mod simulate;

pub mod records;

pub mod report;

pub mod notify;

pub mod control;

pub mod metrics;

pub mod plane;

pub mod admin;

pub mod telemetry;

pub mod app;

pub mod demo;

pub mod cli;
