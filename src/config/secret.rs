//! Values that are never shown: from the environment, a file or a systemd credential.
//!
//! A problem names where a secret should have come from, never what came.
//! Does not know: what the secrets are for.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use http::{HeaderName, HeaderValue};

use super::Secret;
use super::file::{Field, Section};
use crate::names::BadName;

/// Tokens and keys are short; a longer file is the wrong file.
const BYTES_MAX: u64 = 64 * 1024;

/// Headers that frame the message, name the session or select the protocol: they are ours or the
/// client's, and a fixed value would break either.
const NOT_YOURS: &[&str] = &[
    "accept",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Reads a secret: a string with `${NAME}`, `{ file = … }` or `{ credential = … }`.
pub(super) fn read(field: &Field<'_>) -> Option<Secret> {
    if !field.is_table() {
        return field.text().map(|filled| Secret::new(filled.value));
    }
    let mut section = field.section()?;
    let bytes = match (section.take("file"), section.take("credential")) {
        (Some(file), None) => from_file(&file),
        (None, Some(credential)) => from_credential(&credential),
        _ => {
            field.problem("must be a string, `{ file = … }` or `{ credential = … }`");
            None
        }
    };
    bytes.map(Secret::new)
}

/// Reads a secret that has to have a certain length to be one.
pub(super) fn read_long(field: &Field<'_>, bytes_min: usize) -> Option<Secret> {
    let secret = read(field)?;
    if secret.expose().len() < bytes_min {
        field.problem(&format!(
            "is shorter than {bytes_min} bytes; make one with `openssl rand -base64 32`"
        ));
        return None;
    }
    Some(secret)
}

/// Reads a table of headers. Every value is marked so that `Debug` hides it.
pub(super) fn headers(section: Section<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (key, field) in section.take_all() {
        let name = header_name(&key).and_then(|name| {
            let twice = headers.iter().any(|(other, _)| *other == name);
            if twice { Err(BadName(format!("`{name}` is there twice"))) } else { Ok(name) }
        });
        match name {
            Ok(name) => headers.extend(header_value(&field).map(|value| (name, value))),
            Err(bad) => field.problem(&bad.0),
        }
    }
    headers
}

fn header_name(key: &str) -> Result<HeaderName, BadName> {
    let name: HeaderName =
        key.parse().map_err(|_| BadName(format!("`{key}` is no name of a header")))?;
    if NOT_YOURS.contains(&name.as_str()) {
        return Err(BadName(format!("`{name}` cannot be set: the protocol needs it as it is")));
    }
    Ok(name)
}

/// Reads a token, as the value of an `Authorization` header.
pub(super) fn bearer(field: &Field<'_>) -> Option<HeaderValue> {
    let token = read(field)?;
    if token.expose().starts_with(b"Bearer ") {
        field.problem("is the token alone: `Bearer` is put in front of it");
        return None;
    }
    sensitive(field, &token, "Bearer ")
}

fn header_value(field: &Field<'_>) -> Option<HeaderValue> {
    sensitive(field, &read(field)?, "")
}

fn sensitive(field: &Field<'_>, secret: &Secret, before: &str) -> Option<HeaderValue> {
    let whole = [before.as_bytes(), secret.expose()].concat();
    let fits = !secret.expose().trim_ascii().is_empty();
    let Some(mut value) = HeaderValue::from_bytes(&whole).ok().filter(|_| fits) else {
        field.problem("is empty or holds a character that no header can");
        return None;
    };
    value.set_sensitive(true);
    Some(value)
}

fn from_file(field: &Field<'_>) -> Option<Vec<u8>> {
    let folder = field.reader.folder;
    let path = field.parse(|text| Ok(folder.join(text)))?;
    contents(field, &path)
}

fn from_credential(field: &Field<'_>) -> Option<Vec<u8>> {
    let name = field.parse(|text| {
        let plain = !text.is_empty() && !text.contains('/') && text != "." && text != "..";
        let bad = || BadName(format!("`{text}` is no name of a credential"));
        plain.then(|| text.to_owned()).ok_or_else(bad)
    })?;
    let Some(folder) = field.reader.env.get("CREDENTIALS_DIRECTORY") else {
        field.machine_problem(
            "`CREDENTIALS_DIRECTORY` is not set; systemd sets it for units with `LoadCredential=`",
        );
        return None;
    };
    contents(field, &PathBuf::from(folder).join(name))
}

fn contents(field: &Field<'_>, path: &Path) -> Option<Vec<u8>> {
    let unreadable = |error: &io::Error| {
        // The path is in the file already, and may hold something filled in.
        field.machine_problem(&format!("cannot read this secret: {error}"));
    };
    let mut bytes = read_some(path, BYTES_MAX).map_err(|error| unreadable(&error)).ok()?;
    // Editors end a file with a newline that nobody means.
    while matches!(bytes.last(), Some(b'\n' | b'\r')) {
        bytes.pop();
    }
    if bytes.is_empty() {
        field.machine_problem("this secret is empty");
        return None;
    }
    Some(bytes)
}

/// Reads a file that must not be longer than this, whatever it is.
pub(super) fn read_some(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("it is longer than {bytes_max} bytes")));
    }
    Ok(bytes)
}
