//! What a handshake showed: a closed set of verdicts, each with a word for labels and a sentence
//! for people.
//!
//! Does not know: how often a verdict has to come before it counts.

use std::fmt;
use std::time::Duration;

/// What a handshake showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything that was asked was answered as it should be.
    Healthy,
    /// 401 or 403: it is alive, and what is behind the door cannot be seen.
    Unauthenticated {
        /// The status.
        status: u16,
        /// Whether a token was sent.
        token_sent: bool,
    },
    /// It refuses the `Host` that clients send: all real traffic gets the same.
    WrongHost {
        /// The status.
        status: u16,
        /// The host.
        host: String,
    },
    /// No connection; the text says why.
    Unreachable(String),
    /// The handshake took too long.
    Timeout {
        /// What it was at.
        step: String,
        /// How long the whole handshake may take.
        limit: Duration,
    },
    /// The connection ended before the answer did.
    Closed {
        /// In this step.
        step: String,
        /// By a reset.
        reset: bool,
    },
    /// What came is not what the protocol says.
    BadAnswer {
        /// In this step.
        step: String,
        /// What is wrong with it.
        why: String,
    },
    /// It says itself that it cannot work: 5xx, 429 or -32603.
    ServerError {
        /// In this step.
        step: String,
        /// What it says.
        why: String,
    },
    /// It does not list these expected tools.
    MissingTools(Vec<String>),
    /// It did not answer a call as expected.
    CallFailed {
        /// The tool.
        tool: String,
        /// What came instead.
        why: String,
    },
}

impl Verdict {
    /// Every label.
    pub const LABELS: [&str; 10] = [
        "healthy",
        "unauthenticated",
        "wrong_host",
        "unreachable",
        "timeout",
        "closed",
        "bad_answer",
        "server_error",
        "missing_tools",
        "call_failed",
    ];

    /// The label.
    pub const fn label(&self) -> &'static str {
        match self {
            Verdict::Healthy => "healthy",
            Verdict::Unauthenticated { .. } => "unauthenticated",
            Verdict::WrongHost { .. } => "wrong_host",
            Verdict::Unreachable(_) => "unreachable",
            Verdict::Timeout { .. } => "timeout",
            Verdict::Closed { .. } => "closed",
            Verdict::BadAnswer { .. } => "bad_answer",
            Verdict::ServerError { .. } => "server_error",
            Verdict::MissingTools(_) => "missing_tools",
            Verdict::CallFailed { .. } => "call_failed",
        }
    }

    /// Whether it is alive: a server that wants a token may serve clients that have one.
    pub const fn is_up(&self) -> bool {
        matches!(self, Verdict::Healthy | Verdict::Unauthenticated { .. })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Healthy => f.write_str("all that decides was answered as it should be"),
            Verdict::Unauthenticated { status, token_sent } => {
                let why = if *token_sent {
                    "the token was refused"
                } else {
                    "no token is configured (health.token)"
                };
                write!(f, "alive, but not seen into: it answers {status}, {why}")
            }
            Verdict::WrongHost { status, host } => write!(
                f,
                "it answers {status} to the Host `{host}` that clients send: allow that name on \
                 the server, or set `host`"
            ),
            Verdict::Unreachable(why) => f.write_str(why),
            Verdict::Timeout { step, limit } => {
                let limit = humantime::format_duration(*limit);
                write!(f, "the handshake did not end within {limit}: it was at {step}")
            }
            Verdict::Closed { step, reset: true } => {
                write!(f, "it reset the connection at {step}")
            }
            Verdict::Closed { step, reset: false } => {
                write!(f, "it closed the connection at {step}")
            }
            Verdict::BadAnswer { step, why } => write!(f, "bad answer to {step}: {why}"),
            Verdict::ServerError { step, why } => write!(f, "it failed at {step}: {why}"),
            Verdict::MissingTools(tools) => {
                write!(f, "it does not list the expected tools: {}", tools.join(", "))
            }
            Verdict::CallFailed { tool, why } => write!(f, "the call of {tool} failed: {why}"),
        }
    }
}

/// Why a step came to nothing, before it is known which one it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Unauthenticated {
        status: u16,
        token_sent: bool,
    },
    WrongHost {
        status: u16,
        host: String,
    },
    Unreachable(String),
    /// There is a connection, but no TLS on it, or TLS where none should be.
    Tls(String),
    Closed {
        reset: bool,
    },
    Bad(String),
    Server(String),
    Rpc(RpcError),
    Missing(Vec<String>),
    Call {
        tool: String,
        why: String,
    },
}

/// An error as JSON-RPC has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RpcError {
    pub(super) code: i64,
    /// Fit to be shown.
    pub(super) message: String,
    /// `data.supported`, if that is what came with it.
    pub(super) supported: Vec<String>,
}

/// The code of a server that has failed by its own fault.
const INTERNAL_ERROR: i64 = -32603;

impl Fault {
    pub(super) fn bad(why: impl Into<String>) -> Fault {
        Fault::Bad(why.into())
    }

    /// The verdict, if this ends the handshake in this step.
    pub(super) fn at(self, step: &str) -> Verdict {
        let step = step.to_owned();
        match self {
            Fault::Unauthenticated { status, token_sent } => {
                Verdict::Unauthenticated { status, token_sent }
            }
            Fault::WrongHost { status, host } => Verdict::WrongHost { status, host },
            Fault::Unreachable(why) | Fault::Tls(why) => Verdict::Unreachable(why),
            Fault::Closed { reset } => Verdict::Closed { step, reset },
            Fault::Bad(why) => Verdict::BadAnswer { step, why },
            Fault::Server(why) => Verdict::ServerError { step, why },
            Fault::Rpc(error) if error.is_internal() => {
                Verdict::ServerError { step, why: error.to_string() }
            }
            Fault::Rpc(error) => Verdict::BadAnswer { step, why: error.to_string() },
            Fault::Missing(tools) => Verdict::MissingTools(tools),
            Fault::Call { tool, why } => Verdict::CallFailed { tool, why },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Bad(why) | Fault::Server(why) | Fault::Call { why, .. } => f.write_str(why),
            Fault::Rpc(error) => error.fmt(f),
            Fault::Closed { reset: true } => f.write_str("the connection was reset"),
            Fault::Closed { reset: false } => f.write_str("the connection was closed"),
            other => other.clone().at("").fmt(f),
        }
    }
}

impl RpcError {
    /// Whether the server has failed by its own fault.
    pub(super) fn is_internal(&self) -> bool {
        self.code == INTERNAL_ERROR
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}: {}", self.code, self.message)
    }
}
