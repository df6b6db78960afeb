//! The sections `[tls]`, `[metrics.tls]`, `[alerts.tls]` of listeners and `[ARM.tls]` of servers:
//! which certificates, which keys, whom to trust.
//!
//! The files are read here, so that a bad one is a problem with a line, and the router does not
//! start with it. Does not know: who handshakes.

use std::path::PathBuf;
use std::sync::Arc;

use super::file::{Field, Section};
use crate::names::BadName;
use crate::tls::Version;
use crate::tls::client::Client;
use crate::tls::identity::{FileFault, Identity};
use crate::tls::server::Server;

/// Protocols of the listener for clients (RFC 7301).
pub(super) const CLIENTS: &[&[u8]] = &[b"h2", b"http/1.1"];
/// Protocols of the listeners of the control plane.
pub(super) const SCRAPERS: &[&[u8]] = &[b"http/1.1"];

/// A listener's TLS, if it has a certificate.
pub(super) fn server(mut section: Section<'_>, alpn: &[&[u8]]) -> Option<Arc<Server>> {
    let identity = identity(&mut section);
    let client_ca = section.take("client_ca").and_then(|field| Some((path(&field)?, field)));
    let least = least(&mut section);
    let identity = identity?;
    let authorities = client_ca.as_ref().map(|(path, _)| path.as_path());
    match (Server::new(vec![identity], authorities, least, alpn), &client_ca) {
        (Ok(server), _) => Some(Arc::new(server)),
        (Err(fault), Some((_, field))) => {
            field.machine_problem(&fault.to_string());
            None
        }
        (Err(_), None) => None,
    }
}

/// What an arm's `https` endpoints have to show, and what they are shown.
pub(super) fn client(mut section: Section<'_>) -> Arc<Client> {
    let ca = section.take("ca").and_then(|field| Some((path(&field)?, field)));
    let identity = identity(&mut section);
    let server_name = section.parse("server_name", None, |text| Ok(Some(text.to_owned())));
    let least = least(&mut section);
    let authorities = ca.as_ref().map(|(path, _)| path.as_path());
    let client = Client::new(authorities, identity, server_name, least);
    Arc::new(client.unwrap_or_else(|fault| {
        if let Some((_, field)) = &ca {
            field.machine_problem(&fault.to_string());
        }
        Client::new(None, None, None, least).expect("no file has to be read")
    }))
}

/// A certificate and its key: both or none.
fn identity(section: &mut Section<'_>) -> Option<Identity> {
    match (section.take("certificate"), section.take("key")) {
        (Some(certificate), Some(key)) => {
            let identity = Identity::read(&path(&certificate)?, &path(&key)?);
            identity.map_err(|fault| blame(&fault, &certificate, &key)).ok()
        }
        (None, None) => None,
        (Some(field), None) => {
            field.problem("needs the `key` that belongs to it");
            None
        }
        (None, Some(field)) => {
            field.problem("needs the `certificate` that it belongs to");
            None
        }
    }
}

/// Reports a fault where its file is named.
fn blame(fault: &FileFault, certificate: &Field<'_>, key: &Field<'_>) {
    let of_key = match fault {
        FileFault::Io { path: file, .. } | FileFault::Content { path: file, .. } => {
            path(key).as_ref() == Some(file)
        }
        FileFault::Exposed(_) | FileFault::Mismatch { .. } => true,
    };
    let field = if of_key { key } else { certificate };
    field.machine_problem(&fault.to_string());
}

fn path(field: &Field<'_>) -> Option<PathBuf> {
    let folder = field.reader.folder;
    field.parse(|text| match text {
        "" => Err(BadName("is empty".into())),
        text => Ok(folder.join(text)),
    })
}

fn least(section: &mut Section<'_>) -> Version {
    section.choice("min_version", &[("1.2", Version::Tls12), ("1.3", Version::Tls13)])
}
