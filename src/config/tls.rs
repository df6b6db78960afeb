//! The sections `[tls]`, `[metrics.tls]`, `[alerts.tls]` of listeners, `[ARM.tls]` of servers and
//! the keys of webhooks: which certificates, which keys, whom to trust.
//!
//! The files are read here, so that a bad one is a problem with a line, and the router does not
//! start with it. Does not know: who handshakes.

use std::iter;
use std::path::PathBuf;
use std::sync::Arc;

use super::Config;
use super::check::{distinct, fresh};
use super::file::{Field, Section};
use crate::names::{Arm, BadName};
use crate::tls::Version;
use crate::tls::client::{self, Client};
use crate::tls::identity::{FileFault, Identity};
use crate::tls::name::Name;
use crate::tls::server::{Clients, Server, Wanted};

/// Certificates of one listener; more hosts than this are for a wildcard.
const CERTIFICATES_MAX: usize = 64;
/// Names of clients; more than this are for a wildcard or an authority of their own.
const NAMES_MAX: usize = 1024;

/// Protocols of the listener for clients (RFC 7301).
pub(super) const CLIENTS: &[&[u8]] = &[b"h2", b"http/1.1"];
/// Protocols of the listeners of the control plane.
pub(super) const SCRAPERS: &[&[u8]] = &[b"http/1.1"];

impl Config {
    /// Every certificate that is shown, and by whom: `listen`, `metrics`, `alerts`, an arm's name
    /// where it is shown to its servers, or `notify` where it is to webhooks.
    pub fn certificates(&self) -> Vec<(&'static str, &Identity)> {
        let listeners = self.tls_listeners().into_iter();
        let shown = listeners.flat_map(|(by, it)| it.identities().iter().map(move |it| (by, it)));
        let to_others = self.tls_clients();
        shown.chain(to_others.filter_map(|(to, it)| Some((to, it.identity()?)))).collect()
    }

    /// Every file with a certificate, a key or an authority.
    pub fn tls_files(&self) -> Vec<PathBuf> {
        let listeners = self.tls_listeners().into_iter().flat_map(|(_, it)| it.files());
        let others = self.tls_clients().flat_map(|(_, it)| it.files());
        let mut all: Vec<_> = listeners.chain(others).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The same configuration with certificates, keys and authorities as they are in their files
    /// now.
    ///
    /// # Errors
    /// When one of the files is of no use; then none is taken over.
    pub fn reread_tls(&self) -> Result<Config, FileFault> {
        let server =
            |it: &Option<Arc<Server>>| it.as_ref().map(|it| it.reread().map(Arc::new)).transpose();
        let mut new = self.clone();
        new.tls = server(&new.tls)?;
        if let Some(metrics) = &mut new.metrics {
            metrics.tls = server(&metrics.tls)?;
        }
        if let Some(alerts) = &mut new.alerts {
            alerts.tls = server(&alerts.tls)?;
        }
        for arm in Arm::ALL {
            let arm = new.arms.get_mut(arm);
            arm.tls = Arc::new(arm.tls.reread()?);
        }
        for webhook in &mut new.notify {
            webhook.tls = Arc::new(webhook.tls.reread()?);
        }
        Ok(new)
    }

    /// To whom we speak TLS, and how.
    fn tls_clients(&self) -> impl Iterator<Item = (&'static str, &Arc<Client>)> {
        let arms = Arm::ALL.into_iter().map(|arm| (arm.as_str(), &self.arms.get(arm).tls));
        arms.chain(self.notify.iter().map(|it| ("notify", &it.tls)))
    }

    fn tls_listeners(&self) -> Vec<(&'static str, &Arc<Server>)> {
        let metrics = self.metrics.as_ref().and_then(|it| it.tls.as_ref());
        let alerts = self.alerts.as_ref().and_then(|it| it.tls.as_ref());
        let all = [("listen", self.tls.as_ref()), ("metrics", metrics), ("alerts", alerts)];
        all.into_iter().filter_map(|(by, server)| Some((by, server?))).collect()
    }
}

/// A listener's TLS, if it has a certificate.
pub(super) fn server(
    mut section: Section<'_>,
    alpn: &'static [&'static [u8]],
) -> Option<Arc<Server>> {
    let identity = identity(&mut section);
    let others = section.take("others");
    let (ca, names) = (section.take("client_ca"), section.take("client_names"));
    let least = least(&mut section);
    let Identities::Read(first) = identity else {
        let alone = [&others, &ca, &names].into_iter().flatten();
        let alone = alone.filter(|_| matches!(identity, Identities::None));
        alone.for_each(|field| field.problem("needs a `certificate` and its `key` beside it"));
        return None;
    };
    let further = others.map(|field| distinct(&field, CERTIFICATES_MAX - 1, other));
    let identities = iter::once(first).chain(further.into_iter().flatten()).collect();
    if let (None, Some(names)) = (&ca, &names) {
        names.problem("needs the `client_ca` whose certificates have such names");
    }
    let names = names.map(|field| distinct(&field, NAMES_MAX, name)).unwrap_or_default();
    let authorities = ca.as_ref().and_then(path);
    let clients = authorities.map(|authorities| Clients { authorities, names });
    let server = Server::new(Wanted { identities, clients, least, alpn });
    server
        .map_err(|fault| ca.map(|field| field.machine_problem(&fault.to_string())))
        .ok()
        .map(Arc::new)
}

/// One of the further certificates.
fn other(field: &Field<'_>, _: &[Identity]) -> Option<Identity> {
    let found = identity(&mut field.section()?);
    if matches!(found, Identities::None) {
        field.problem("needs a `certificate` and its `key`");
    }
    found.read()
}

fn name(field: &Field<'_>, taken: &[Name]) -> Option<Name> {
    field.parse(|text| fresh(Name::parse(text).map_err(BadName)?, text, taken))
}

/// What `https` servers have to show, and what they are shown. `place` is what the section is
/// called in advice.
pub(super) fn client(section: &mut Section<'_>, place: &'static str) -> Arc<Client> {
    let ca = section.take("ca").and_then(|field| Some((path(&field)?, field)));
    let identity = identity(section).read();
    let server_name = section.parse("server_name", None, |text| {
        let name = client::server_name(text);
        let bad = || BadName(format!("`{text}` is no host and no address, such as mcp.internal"));
        name.map(Some).ok_or_else(bad)
    });
    let least = least(section);
    let authorities = ca.as_ref().map(|(path, _)| path.as_path());
    let client = Client::new(authorities, identity, server_name, least, place);
    Arc::new(client.unwrap_or_else(|fault| {
        if let Some((_, field)) = &ca {
            field.machine_problem(&fault.to_string());
        }
        Client::new(None, None, None, least, place).expect("no file has to be read")
    }))
}

/// What a section says of a certificate and its key.
enum Identities {
    None,
    /// With a problem that has been reported.
    Bad,
    Read(Identity),
}

impl Identities {
    fn read(self) -> Option<Identity> {
        if let Identities::Read(identity) = self { Some(identity) } else { None }
    }
}

/// A certificate and its key: both or none.
fn identity(section: &mut Section<'_>) -> Identities {
    match (section.take("certificate"), section.take("key")) {
        (Some(certificate), Some(key)) => {
            let (Some(chain), Some(own)) = (path(&certificate), path(&key)) else {
                return Identities::Bad;
            };
            let read = Identity::read(&chain, &own);
            let read = read.map_err(|fault| blame(&fault, &certificate, &key));
            read.map_or(Identities::Bad, Identities::Read)
        }
        (None, None) => Identities::None,
        (Some(field), None) => {
            field.problem("needs the `key` that belongs to it");
            Identities::Bad
        }
        (None, Some(field)) => {
            field.problem("needs the `certificate` that it belongs to");
            Identities::Bad
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
        // A key itself, which no complaint is to repeat; its lines may have been joined.
        text if text.contains('\n') || text.contains("-----BEGIN") => {
            Err(BadName("is a file's name, not what is in it".into()))
        }
        text => Ok(folder.join(text)),
    })
}

fn least(section: &mut Section<'_>) -> Version {
    section.choice("min_version", &[("1.2", Version::Tls12), ("1.3", Version::Tls13)])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::super::environment::Environment;
    use super::super::file::Reader;
    use super::super::tree::{Source, parse};
    use super::*;

    /// The listener that a text gives in a folder, and the problems.
    fn read(folder: &Path, text: &str) -> (Option<Arc<Server>>, Vec<String>) {
        let source = Source { name: String::new(), text: text.into() };
        let env = Environment::default();
        let reader = Reader::new(&source, folder, &env, true);
        let server = server(reader.root(parse(&source).0).section("tls"), CLIENTS);
        let problems = reader.finish().into_iter();
        (server, problems.map(|it| format!("{}: {}", it.key, it.message)).collect())
    }

    #[test]
    fn listeners() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            let made = rcgen::generate_simple_self_signed([format!("{name}.example")]).unwrap();
            let key = dir.path().join(format!("{name}.key"));
            std::fs::write(dir.path().join(format!("{name}.pem")), made.cert.pem()).unwrap();
            std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
        }
        let own = "certificate = 'a.pem'\nkey = 'a.key'";
        let with = |more: &str| format!("{own}\n{more}");
        let names = "client_names = ['*.example', 'spiffe://x/y', '10.0.0.1']";
        for (text, files) in [
            (String::new(), 0),
            (own.to_owned(), 2),
            (with("others = [{ certificate = 'b.pem', key = 'b.key' }]"), 4),
            (with(&format!("client_ca = 'a.pem'\n{names}")), 3),
        ] {
            let (server, problems) = read(dir.path(), &format!("[tls]\n{text}"));
            assert!(problems.is_empty(), "{text}: {problems:?}");
            assert_eq!(server.map_or(0, |it| it.files().len()), files, "{text}");
        }
        for (text, words) in [
            ("certificate = 'a.pem'".to_owned(), "tls.certificate: needs the `key`"),
            ("key = 'a.key'".to_owned(), "tls.key: needs the `certificate`"),
            ("client_ca = 'a.pem'".to_owned(), "tls.client_ca: needs a `certificate`"),
            (names.to_owned(), "tls.client_names: needs a `certificate`"),
            (with(names), "tls.client_names: needs the `client_ca`"),
            (with("client_ca = 'a.key'"), "tls.client_ca: "),
            (with("client_ca = 'a.pem'\nclient_names = ['a b']"), "tls.client_names[0]: `a b` is"),
            (with("client_ca = 'a.pem'\nclient_names = []"), "must hold at least one"),
            (with("others = [{}]"), "tls.others[0]: needs a `certificate` and its `key`"),
            (with("others = [{ certificate = 'b.pem' }]"), "tls.others[0].certificate: needs"),
            (with("others = [{ certificate = 'b.pem', key = 'a.key' }]"), "tls.others[0].key: "),
            (
                "key = '-----BEGIN PRIVATE KEY-----\\nMIG'\ncertificate = 'a.pem'".to_owned(),
                "a file's name",
            ),
            (with("min_version = '1.1'"), "`1.1` is none of `1.2`, `1.3`"),
        ] {
            let (_, problems) = read(dir.path(), &format!("[tls]\n{text}"));
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert!(problems[0].contains(words), "{text}: {problems:?}");
        }
    }
}
