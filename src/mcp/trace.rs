//! The trace that a request belongs to: W3C Trace Context, from the `traceparent` header or, in
//! MCP 2026-07-28, from `_meta`.
//!
//! Only read, to find a request's lines in a log again; what came is passed on as it is. Does not
//! know: spans of our own.

/// The id of a trace: 32 lower-case hexadecimal digits, not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId<'a>(&'a str);

impl<'a> TraceId<'a> {
    /// Reads a `traceparent`: version, trace, parent, flags. A later version may have more behind.
    pub fn of(traceparent: &'a str) -> Option<TraceId<'a>> {
        let mut parts = traceparent.split('-');
        let (version, trace) = (parts.next()?, parts.next()?);
        let (parent, flags) = (parts.next()?, parts.next()?);
        let fits = is_hex(version, 2)
            && version != "ff"
            && is_hex(trace, 32)
            && is_hex(parent, 16)
            && is_hex(flags, 2)
            && (version != "00" || parts.next().is_none());
        let is_zero = |id: &str| id.bytes().all(|digit| digit == b'0');
        (fits && !is_zero(trace) && !is_zero(parent)).then_some(TraceId(trace))
    }

    /// Its digits.
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparents() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let of = |text: &'static str| TraceId::of(text).map(|it| it.as_str());
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(of(good), Some(id));
        assert_eq!(of("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"), Some(id));
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473\u{e9}-00f067aa0ba902b7-01",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
