//! Why client connections are turned away or cut: closed sets of words for counts and labels.
//!
//! Does not know: when that is.

/// Why a connection is closed as soon as it is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shed {
    /// As many are open as may be.
    Limit,
    /// As many are open from this address as may be.
    Address,
    /// The process has hardly any file descriptors left.
    Descriptors,
    /// The process has hardly any memory left.
    Memory,
}

impl Shed {
    /// All of them.
    pub const ALL: [Shed; 4] = [Shed::Limit, Shed::Address, Shed::Descriptors, Shed::Memory];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Shed::Limit => "limit",
            Shed::Address => "address",
            Shed::Descriptors => "descriptors",
            Shed::Memory => "memory",
        }
    }
}

/// Why something is cut that a client had begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cut {
    /// A request head did not come in time.
    Header,
    /// A request body did not come in time.
    Body,
    /// The client does not take its answer.
    Write,
    /// More HTTP/2 frames that ask for nothing than any client needs.
    Flood,
}

impl Cut {
    /// All of them.
    pub const ALL: [Cut; 4] = [Cut::Header, Cut::Body, Cut::Write, Cut::Flood];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Cut::Header => "header",
            Cut::Body => "body",
            Cut::Write => "write",
            Cut::Flood => "flood",
        }
    }
}
