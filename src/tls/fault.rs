//! Why there is no TLS with a server, as a sentence for whoever has to put it right: what is wrong,
//! and what to do.
//!
//! Does not know: how a handshake is made.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::{
    self, AlertDescription as Alert, CertificateError as Bad, InvalidMessage, PeerIncompatible,
};

use super::Version;

/// Names of a certificate that are shown.
const NAMES_MAX: usize = 5;

/// Why there is no TLS with a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Fault {}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, fault)
    }
}

impl Fault {
    pub(super) fn new(text: impl Into<String>) -> Fault {
        Fault(text.into())
    }

    /// The handshake takes longer than it may.
    pub fn silent(limit: Duration) -> Fault {
        let limit = humantime::format_duration(limit);
        Fault(format!(
            "connected, but there was no TLS within {limit}: see whether TLS is spoken at this port"
        ))
    }

    /// An alert where an HTTP answer should be.
    pub(super) fn speaks_tls() -> Fault {
        Fault::new("it answers plain HTTP with a TLS alert: write `https://` in its address")
    }

    pub(super) fn no_name(host: &str, place: &str) -> Fault {
        Fault(format!("no certificate can be for `{host}`: set `server_name` in {place}"))
    }

    pub(super) fn no_roots(place: &str) -> Fault {
        Fault(format!(
            "this machine trusts no authority at all: install ca-certificates, or set `ca` in {place}"
        ))
    }

    /// The fault that lies at the bottom of an error, if one does.
    pub fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Fault> {
        let mut next = Some(error);
        while let Some(error) = next {
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if let Some(fault) = inner.and_then(|it| it.downcast_ref()) {
                return Some(fault);
            }
            next = error.source();
        }
        None
    }
}

/// What an error is told by.
pub(super) struct Scene<'a> {
    /// Who was asked for.
    pub(super) host: &'a str,
    /// Where the settings stand.
    pub(super) place: &'a str,
    /// The file of those who are trusted; `None`: those of the operating system are.
    pub(super) ca: Option<&'a Path>,
    /// The file of our own certificate.
    pub(super) own: Option<&'a Path>,
    /// Servers have asked for it.
    pub(super) asked: bool,
    pub(super) least: Version,
}

impl Scene<'_> {
    pub(super) fn told(&self, error: &io::Error) -> Fault {
        use rustls::Error as Tls;
        let inner = error.get_ref().and_then(|it| it.downcast_ref::<Tls>());
        Fault(match inner {
            Some(Tls::InvalidCertificate(bad)) => self.certificate(bad),
            Some(Tls::AlertReceived(alert)) => self.alert(*alert),
            Some(Tls::PeerIncompatible(
                PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::ServerDoesNotSupportTls12Or13,
            )) => self.versions(),
            Some(Tls::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            )) => "no TLS is spoken there: if it is plain HTTP, write `http://` in its address"
                .to_owned(),
            Some(other) => format!("no TLS with it: {other}"),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                "it closed the connection in the TLS handshake: see whether TLS is spoken at this \
                 port, and the server's log"
                    .to_owned()
            }
            None => format!("the connection broke in the TLS handshake: {error}"),
        })
    }

    fn certificate(&self, bad: &Bad) -> String {
        let Scene { host, place, .. } = self;
        match bad {
            Bad::NotValidForNameContext { presented, .. } => {
                let names = names(presented);
                format!(
                    "its certificate is for {names} and not for {host}: give the server one for \
                     that name, or set `server_name` in {place}"
                )
            }
            Bad::ExpiredContext { not_after, .. } => {
                let at = moment(*not_after);
                format!("its certificate expired at {at}: renew it on the server")
            }
            Bad::NotValidYetContext { not_before, .. } => {
                let at = moment(*not_before);
                format!(
                    "its certificate is not valid before {at}: see whether the clocks of both \
                     machines are right"
                )
            }
            // The second: an authority of the same name has another key.
            Bad::UnknownIssuer | Bad::BadSignature => match self.ca {
                Some(file) => {
                    let file = file.display();
                    format!(
                        "its certificate is of no authority in {file}, which is `ca` in {place}: \
                         put there the one that has signed it"
                    )
                }
                None => format!(
                    "its certificate is of an unknown authority: set `ca` in {place} to the file \
                     of the one that has signed it"
                ),
            },
            Bad::Revoked => "its certificate is revoked".to_owned(),
            other => format!("its certificate is no good: {other}"),
        }
    }

    fn alert(&self, alert: Alert) -> String {
        let Scene { host, place, own, .. } = self;
        match alert {
            Alert::ProtocolVersion => return self.versions(),
            Alert::UnrecognisedName => {
                return format!(
                    "it knows nobody called {host}: set `server_name` in {place} to the name that \
                     it goes by"
                );
            }
            Alert::NoApplicationProtocol => {
                return "it does not speak HTTP/1.1 over TLS".to_owned();
            }
            _ => {}
        }
        let alert_text = shown(alert);
        match own {
            Some(own) if self.asked && is_of_certificates(alert) => {
                let own = own.display();
                format!(
                    "it refuses our certificate {own} ({alert_text}): see which authorities the \
                     server trusts, and `certificate` in {place}"
                )
            }
            // Not every server says why it ends a handshake in which it got no certificate.
            None if alert == Alert::CertificateRequired
                || (self.asked
                    && (is_of_certificates(alert) || alert == Alert::HandshakeFailure)) =>
            {
                format!(
                    "it wants a certificate of ours ({alert_text}): set `certificate` and `key` in \
                     {place}"
                )
            }
            _ => format!("it ended the TLS handshake ({alert_text}): see the server's log"),
        }
    }

    fn versions(&self) -> String {
        match self.least {
            Version::Tls12 => "it speaks neither TLS 1.2 nor 1.3: no older one is safe".to_owned(),
            Version::Tls13 => format!(
                "it does not speak TLS 1.3: update the server, or set `min_version` in {} to 1.2",
                self.place
            ),
        }
    }
}

/// Whether a peer says by this that our certificate is not good enough.
fn is_of_certificates(alert: Alert) -> bool {
    matches!(
        alert,
        Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError
    )
}

/// `CertificateExpired` as RFC 8446 writes it: `certificate_expired`.
fn shown(alert: Alert) -> String {
    let mut text = String::new();
    let mut before = None;
    for letter in format!("{alert:?}").chars() {
        let begins = letter.is_uppercase() && before.is_some_and(char::is_lowercase);
        text.extend(begins.then_some('_'));
        text.extend(letter.to_lowercase());
        before = Some(letter);
    }
    text
}

fn moment(time: UnixTime) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs());
    humantime::format_rfc3339_seconds(time).to_string()
}

/// The names of a certificate, which come as `DnsName("a.example")` or `IpAddress(10.0.0.1)`.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inner = name.split_once('(').map_or(name.as_str(), |(_, inner)| inner);
        let inner = inner.trim_end_matches(')').trim_matches('"');
        inner.chars().filter(|letter| !letter.is_control()).collect::<String>()
    };
    let some: Vec<String> = presented.iter().take(NAMES_MAX).map(bare).collect();
    match presented.len() {
        0 => "no name".to_owned(),
        1..=NAMES_MAX => some.join(", "),
        many => format!("{} and {} more", some.join(", "), many - NAMES_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(error: rustls::Error, asked: bool, own: Option<&str>, ca: Option<&str>) -> String {
        let scene = Scene {
            host: "mcp.internal",
            place: "[primary.tls]",
            ca: ca.map(Path::new),
            own: own.map(Path::new),
            asked,
            least: Version::Tls12,
        };
        scene.told(&io::Error::new(io::ErrorKind::InvalidData, error)).to_string()
    }

    #[test]
    fn what_the_server_says_of_our_certificate() {
        for (alert, asked, own, words) in [
            (Alert::CertificateRequired, true, None, "wants a certificate of ours"),
            (Alert::CertificateRequired, false, None, "wants a certificate of ours"),
            (Alert::HandshakeFailure, true, None, "wants a certificate of ours"),
            (Alert::HandshakeFailure, false, None, "(handshake_failure): see the server's log"),
            (Alert::HandshakeFailure, true, Some("own.pem"), "see the server's log"),
            (
                Alert::UnknownCA,
                true,
                Some("own.pem"),
                "refuses our certificate own.pem (unknown_ca)",
            ),
            (Alert::CertificateExpired, true, Some("own.pem"), "(certificate_expired)"),
            (Alert::UnrecognisedName, false, None, "nobody called mcp.internal"),
            (Alert::ProtocolVersion, false, None, "neither TLS 1.2 nor 1.3"),
        ] {
            let found = told(rustls::Error::AlertReceived(alert), asked, own, None);
            assert!(found.contains(words), "{alert:?} {asked} {own:?}: {found}");
        }
    }

    #[test]
    fn whom_to_trust() {
        let bad = || rustls::Error::InvalidCertificate(Bad::UnknownIssuer);
        assert!(told(bad(), false, None, None).contains("set `ca` in [primary.tls]"));
        assert!(told(bad(), false, None, Some("ca.pem")).contains("of no authority in ca.pem"));
    }

    #[test]
    fn names_are_bare_and_few() {
        let dns = |count: usize| -> Vec<String> {
            (0..count).map(|it| format!("DnsName(\"{it}.example\")")).collect()
        };
        assert_eq!(names(&[]), "no name");
        assert_eq!(names(&["IpAddress(10.0.0.1)".to_owned()]), "10.0.0.1");
        assert_eq!(names(&dns(2)), "0.example, 1.example");
        assert!(names(&dns(7)).ends_with("4.example and 2 more"));
    }
}
