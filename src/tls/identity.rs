//! Certificates and keys in PEM files, read and checked against each other.
//!
//! Every fault is a sentence that names the file and what to do. Does not know: who shows them to
//! whom.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::name::Name;
use super::provider;

/// A longer file is the wrong file: a bundle of all public authorities has some 230 KiB.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// The file system refused.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is nothing of the kind in it, or it is broken.
    #[error("{path} holds no {what} in PEM: {why}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// Why it was not found.
        why: String,
    },
    /// Everybody could read a key.
    #[error("everybody may read the key {0}: run `chmod o= {0}`")]
    Exposed(PathBuf),
    /// A key of another certificate, or of a kind that is not spoken.
    #[error("the key {key} does not belong to the certificate {certificate}: {why}")]
    Mismatch {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// A certificate chain with its key.
#[derive(Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    facts: Facts,
    files: [PathBuf; 2],
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The subject's alternative names: DNS names, addresses, URIs such as SPIFFE ids.
    pub names: Vec<Name>,
    /// The last moment at which it is valid.
    pub not_after: SystemTime,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads a chain (the own certificate first) and its key.
    ///
    /// # Errors
    /// When one of them cannot be read, or they do not belong together.
    pub fn read(certificate: &Path, key: &Path) -> Result<Identity, FileFault> {
        let chain = certificates(certificate)?;
        let facts = facts(&chain[0]).map_err(|why| content(certificate, "certificate", why))?;
        let key_der = private_key(key)?;
        let mismatch = |error: tokio_rustls::rustls::Error| FileFault::Mismatch {
            key: key.to_owned(),
            certificate: certificate.to_owned(),
            why: error.to_string(),
        };
        let certified = CertifiedKey::from_der(chain, key_der, &provider()).map_err(mismatch)?;
        let files = [certificate.to_owned(), key.to_owned()];
        Ok(Identity { certified: Arc::new(certified), facts, files })
    }

    /// The same files once more.
    ///
    /// # Errors
    /// As [`Identity::read`].
    pub fn reread(&self) -> Result<Identity, FileFault> {
        Identity::read(&self.files[0], &self.files[1])
    }

    /// What its certificate says.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The files of the chain and of the key.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

/// The authorities in a file; at least one.
///
/// # Errors
/// When the file cannot be read, or one of its certificates is none of an authority.
pub fn authorities(file: &Path) -> Result<RootCertStore, FileFault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| content(file, "authority", error.to_string()))?;
    }
    Ok(roots)
}

/// What a certificate in DER says.
///
/// # Errors
/// When it is none, in words.
pub fn facts(certificate: &CertificateDer<'_>) -> Result<Facts, String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.map(|it| it.value.general_names.iter().filter_map(Name::of).collect());
    let not_after = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    Ok(Facts {
        names: names.unwrap_or_default(),
        not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(not_after),
    })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, FileFault> {
    let bytes = read(file)?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| content(file, "certificate", error.to_string()))?;
    if found.is_empty() {
        return Err(content(file, "certificate", "there is none".to_owned()));
    }
    Ok(found)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, FileFault> {
    let io = |source| FileFault::Io { path: file.to_owned(), source };
    if std::fs::metadata(file).map_err(io)?.mode() & 0o004 != 0 {
        return Err(FileFault::Exposed(file.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|error| match error {
        pem::Error::NoItemsFound => content(file, "private key", "there is none".to_owned()),
        error => content(file, "private key", error.to_string()),
    })
}

fn read(file: &Path) -> Result<Vec<u8>, FileFault> {
    let io = |source| FileFault::Io { path: file.to_owned(), source };
    let mut bytes = Vec::new();
    // A pipe that nobody writes to would be waited for, by all that the control plane does.
    if !std::fs::metadata(file).map_err(io)?.is_file() {
        return Err(io(io::Error::other("it is no regular file")));
    }
    File::open(file).map_err(io)?.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io(io::Error::other(format!("it is longer than {BYTES_MAX} bytes"))));
    }
    Ok(bytes)
}

fn content(file: &Path, what: &'static str, why: String) -> FileFault {
    FileFault::Content { path: file.to_owned(), what, why }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn files(dir: &Path, name: &str) -> [PathBuf; 2] {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let files = ["pem", "key"].map(|end| dir.join(format!("{name}.{end}")));
        std::fs::write(&files[0], made.cert.pem()).unwrap();
        std::fs::write(&files[1], made.signing_key.serialize_pem()).unwrap();
        std::fs::set_permissions(&files[1], PermissionsExt::from_mode(0o600)).unwrap();
        files
    }

    #[test]
    fn what_is_in_the_files() {
        let dir = tempfile::tempdir().unwrap();
        let [certificate, key] = files(dir.path(), "a.example");
        let identity = Identity::read(&certificate, &key).unwrap();
        assert_eq!(identity.facts().names, [Name::parse("a.example").unwrap()]);
        assert!(identity.facts().not_after > SystemTime::now());
    }

    #[test]
    fn what_is_wrong_with_files() {
        let dir = tempfile::tempdir().unwrap();
        let [certificate, key] = files(dir.path(), "a.example");
        let [_, other] = files(dir.path(), "b.example");
        let open = dir.path().join("open.key");
        std::fs::copy(&key, &open).unwrap();
        std::fs::set_permissions(&open, PermissionsExt::from_mode(0o644)).unwrap();
        let nothing = dir.path().join("nothing");
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&pipe).status();
        assert!(made.unwrap().success());
        for (certificate, key, words) in [
            (&certificate, &other, "does not belong to"),
            (&certificate, &open, "everybody may read"),
            (&certificate, &nothing, "cannot read"),
            (&pipe, &key, "no regular file"),
            (&certificate, &pipe, "no regular file"),
            (&key, &key, "holds no certificate in PEM"),
            (&certificate, &certificate, "everybody may read"),
        ] {
            let fault = Identity::read(certificate, key).unwrap_err().to_string();
            assert!(fault.contains(words), "{words}: {fault}");
        }
    }
}
