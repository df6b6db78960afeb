//! Handshakes and certificates.
//!
//! The last moment of a certificate and not the days that are left: those are for whoever asks,
//! when it asks. Does not know: what is in a certificate.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::{NONE, counter, gauge, set};

/// When a certificate ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Who shows it: a listener or an arm.
    pub used_by: &'static str,
    /// Its first name; empty if it has none.
    pub name: String,
    /// The file that it is in.
    pub file: String,
    /// The last moment at which it is valid, in seconds since 1970.
    pub not_after: u64,
}

/// Handshakes and certificates.
#[derive(Debug)]
pub(super) struct Tls {
    handshakes: IntCounterVec,
    not_after: IntGaugeVec,
    read: IntGaugeVec,
}

impl Tls {
    pub(super) fn new(to: &Registry) -> Tls {
        let handshakes = "Handshakes of TLS with clients, by how they went.";
        let not_after = "The last moment at which a certificate in use is valid.";
        let read = "Whether certificates, keys and authorities could be read when they changed.";
        let name = "tidegate_tls_certificate_not_after_seconds";
        let labels = ["used_by", "name", "file"];
        Tls {
            handshakes: counter(
                to,
                "tidegate_tls_handshakes_total",
                &["listener", "result"],
                handshakes,
            ),
            not_after: gauge(to, name, &labels, not_after),
            read: gauge(to, "tidegate_tls_files_last_read_successful", &NONE, read),
        }
    }

    pub(super) fn count(&self, listener: &str, result: &str, count: u64) {
        self.handshakes.with_label_values(&[listener, result]).inc_by(count);
    }

    pub(super) fn set(&self, certificates: &[Expiry], all_read: bool) {
        // A renewed certificate may have another name.
        self.not_after.reset();
        for it in certificates {
            let at = usize::try_from(it.not_after).unwrap_or(usize::MAX);
            set(&self.not_after, &[it.used_by, &it.name, &it.file], at);
        }
        self.read.with_label_values(&NONE).set(i64::from(all_read));
    }
}
