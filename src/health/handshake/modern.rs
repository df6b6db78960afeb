//! The handshake of 2026-07-28: `server/discover`, and requests that each stand alone.
//!
//! Does not know: other eras, but that an answer may say that one of them is spoken.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::super::caller::{Ask, Caller, Reply, reply};
use super::super::verdict::{Fault, RpcError};
use super::session::{About, Opened, is_refusal, refusal};
use crate::mcp::header::{METHOD, NAME, PROTOCOL_VERSION};
use crate::mcp::shown::plain;

/// The first revision without a handshake, and the one that we speak.
const VERSION: &str = "2026-07-28";

/// "This version is not implemented", with those that are.
const UNSUPPORTED_VERSION: i64 = -32022;

/// A server that speaks modern.
#[derive(Debug)]
pub(in crate::health) struct Modern {
    caller: Rc<Caller>,
    pub(super) about: About,
    asked: u64,
}

/// Asks a server what it speaks (wire.md 4.1, 4.4).
pub(super) async fn discover(caller: &Rc<Caller>) -> Result<Opened<Modern>, Fault> {
    match once(caller, VERSION).await? {
        Discovered::Modern(session) => Ok(Opened::Yes(session)),
        Discovered::Other(why) => Ok(Opened::NotSpoken(why)),
        // A newer server names what it speaks; it is asked once more.
        Discovered::At(version) => match once(caller, &version).await? {
            Discovered::Modern(session) => Ok(Opened::Yes(session)),
            Discovered::Other(why) => Ok(Opened::NotSpoken(why)),
            Discovered::At(_) => Err(Fault::bad(format!(
                "it refuses the version {} that it names itself",
                plain(&version)
            ))),
        },
    }
}

enum Discovered {
    Modern(Modern),
    /// Modern, but of this version only.
    At(String),
    /// Not modern, by this answer.
    Other(String),
}

async fn once(caller: &Rc<Caller>, version: &str) -> Result<Discovered, Fault> {
    let id = json!("hc-1");
    let ask = ask(caller, version, &id, "server/discover", Map::new())?;
    let answer = caller.send(&ask).await?;
    if is_refusal(answer.head.status) {
        let (why, error) = refusal(answer).await;
        return Ok(other(why, error.as_ref()));
    }
    let result = match reply(answer, &id).await? {
        Ok(result) => result,
        Err(error) if error.code == UNSUPPORTED_VERSION => {
            return Ok(other(error.to_string(), Some(&error)));
        }
        Err(error) if error.is_internal() => return Err(Fault::Rpc(error)),
        Err(error) => return Ok(Discovered::Other(error.to_string())),
    };
    if let Some(kind) = result["resultType"].as_str().filter(|kind| *kind != "complete") {
        return Err(Fault::bad(format!("its resultType is {}", plain(kind))));
    }
    let Some(versions) = result["supportedVersions"].as_array() else {
        return Err(Fault::bad("its result has no `supportedVersions`"));
    };
    let versions = versions.iter().filter_map(Value::as_str);
    let Some(version) = newest(versions.clone()) else {
        let all: Vec<_> = versions.collect();
        let why = format!("it lists only older versions: {}", plain(&all.join(", ")));
        return Ok(Discovered::Other(why));
    };
    let about = About::of(&result, version);
    Ok(Discovered::Modern(Modern { caller: Rc::clone(caller), about, asked: 1 }))
}

fn other(why: String, error: Option<&RpcError>) -> Discovered {
    let supported = error.filter(|it| it.code == UNSUPPORTED_VERSION).map(|it| &it.supported);
    match newest(supported.into_iter().flatten().map(String::as_str)) {
        Some(version) => Discovered::At(version),
        None => Discovered::Other(why),
    }
}

/// The version to speak: ours if it is there, else the newest modern one. Versions are dates, so
/// they sort as texts do.
fn newest<'a>(versions: impl Iterator<Item = &'a str>) -> Option<String> {
    let is_date = |it: &&str| it.len() == VERSION.len() && it.starts_with("20");
    let modern: Vec<&str> = versions.filter(|it| *it >= VERSION).filter(is_date).collect();
    let ours = modern.iter().find(|it| **it == VERSION);
    ours.or_else(|| modern.iter().max()).map(|it| (*it).to_owned())
}

impl Modern {
    /// Those of a list of tools.
    pub(super) fn headers(&self) -> HeaderMap {
        let version = HeaderValue::from_str(&self.about.version).ok();
        let version = version.map(|version| (PROTOCOL_VERSION, version));
        let method = (METHOD, HeaderValue::from_static("tools/list"));
        version.into_iter().chain([method]).collect()
    }

    pub(super) async fn request(
        &mut self,
        method: &str,
        params: Map<String, Value>,
        headers: Vec<(HeaderName, HeaderValue)>,
    ) -> Result<Reply, Fault> {
        self.asked += 1;
        let id = json!(format!("hc-{}", self.asked));
        let mut ask = ask(&self.caller, &self.about.version, &id, method, params)?;
        ask.headers.extend(headers);
        reply(self.caller.send(&ask).await?, &id).await
    }
}

fn ask(
    caller: &Caller,
    version: &str,
    id: &Value,
    method: &str,
    mut params: Map<String, Value>,
) -> Result<Ask, Fault> {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientInfo": super::client_info(),
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    params.insert("_meta".to_owned(), meta);
    let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    let unfit = |_| Fault::bad(format!("the version {} fits into no header", plain(version)));
    let version = HeaderValue::from_str(version).map_err(unfit)?;
    let method = HeaderValue::from_str(method).expect("methods are our own words");
    let ask = Ask::post(caller.endpoint.url.path(), &message);
    Ok(ask.with(PROTOCOL_VERSION, version).with(METHOD, method))
}

/// `Mcp-Name`, and `Mcp-Param-*` for the arguments that the tool's schema marks with
/// `x-mcp-header`.
pub(super) fn call_headers(
    tool: &str,
    arguments: &Map<String, Value>,
    schema: Option<&Value>,
) -> Vec<(HeaderName, HeaderValue)> {
    let properties = schema.and_then(|it| it["properties"].as_object()).into_iter().flatten();
    let marked = properties.filter_map(|(key, it)| Some((key, it["x-mcp-header"].as_str()?)));
    let params = marked.filter_map(|(key, name)| {
        let name: HeaderName = format!("mcp-param-{name}").parse().ok()?;
        let value = match arguments.get(key)? {
            Value::String(text) => header_value(text),
            scalar @ (Value::Number(_) | Value::Bool(_)) => header_value(&scalar.to_string()),
            _ => return None,
        };
        Some((name, value))
    });
    [(NAME, header_value(tool))].into_iter().chain(params).collect()
}

/// A text as a header's value: as it is, or in base64 where a header could not hold it or it would
/// be taken for that.
fn header_value(text: &str) -> HeaderValue {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && text.trim() == text
        && !text.to_ascii_lowercase().starts_with("=?base64?");
    let wrapped =
        if is_plain { text.to_owned() } else { format!("=?base64?{}?=", STANDARD.encode(text)) };
    HeaderValue::try_from(wrapped).expect("base64 is visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_to_speak() {
        for (versions, chosen) in [
            (&["2026-07-28"][..], Some("2026-07-28")),
            (&["2027-01-01", "2026-07-28", "2025-11-25"], Some("2026-07-28")),
            (&["2026-12-01", "2027-01-01"], Some("2027-01-01")),
            (&["2025-11-25", "2024-11-05"], None),
            (&["draft", "zzz", ""], None),
            (&[], None),
        ] {
            assert_eq!(newest(versions.iter().copied()).as_deref(), chosen);
        }
    }

    #[test]
    fn arguments_in_headers() {
        let schema = json!({ "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "n": { "x-mcp-header": "Count" },
            "gone": { "x-mcp-header": "Gone" },
            "list": { "x-mcp-header": "List" },
            "plain": {},
        } });
        let arguments = json!({ "region": "über", "n": 3, "gone": null, "list": [], "plain": 1 });
        let headers = call_headers("a b", arguments.as_object().unwrap(), Some(&schema));
        let found: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(
            found,
            [
                ("mcp-name", "a b"),
                ("mcp-param-count", "3"),
                ("mcp-param-region", "=?base64?w7xiZXI=?="),
            ]
        );
        assert_eq!(header_value("=?base64?x?="), "=?base64?PT9iYXNlNjQ/eD89?=");
    }
}
