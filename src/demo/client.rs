//! One MCP session over HTTP, as small as a client can be: open, call, list, close.
//!
//! Written on hyper's plain connection instead of the SDK's client, because a client that repairs a
//! lost session by itself would hide exactly what the demo is to show.
//! Does not know: arms, weights, who counts.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::server::PATH;

/// The newest revision that has sessions.
const REVISION: &str = "2025-11-25";

/// Everything the demo's servers say fits in a fraction of it.
const MAX_ANSWER: usize = 1024 * 1024;

/// Two orders above what an answer takes here: longer means that none will come.
const PATIENCE: Duration = Duration::from_secs(10);

const SESSION: &str = "mcp-session-id";

/// Why a session came to its end.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens there.
    #[error("cannot connect: {0}")]
    Connect(#[from] io::Error),
    /// The connection broke, or what came was no HTTP.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// The answer did not end, or is far too long.
    #[error("answer cut off: {0}")]
    Body(String),
    /// A status that is no success, with the beginning of the text that came with it.
    #[error("{0}: {1}")]
    Status(StatusCode, String),
    /// A JSON-RPC error.
    #[error("{0}")]
    Rpc(String),
    /// The answer is not what MCP says.
    #[error("answer without {0}")]
    Lacks(&'static str),
    /// A version that is none of the demo's two.
    #[error("answered by version `{0}`, which is no server of this demo")]
    Stranger(String),
    /// Nothing came.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Patience,
}

/// An open session, on a connection of its own.
#[derive(Debug)]
pub struct Client {
    server: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
    session: HeaderValue,
    last_id: u64,
}

impl Client {
    /// Opens a session; also gives the version of the server that answered.
    pub async fn open(server: SocketAddr) -> Result<(Client, String), CallError> {
        let sender = connect(server).await?;
        let mut client =
            Client { server, sender, session: HeaderValue::from_static(""), last_id: 0 };
        let params = json!({
            "protocolVersion": REVISION,
            "capabilities": {},
            "clientInfo": { "name": "tidegate-demo-client", "version": "1" },
        });
        let (headers, result) = client.request("initialize", &params).await?;
        client.session = headers.get(SESSION).ok_or(CallError::Lacks(SESSION))?.clone();
        let version = text_at(&result, "/serverInfo/version", "the server's version")?;
        let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        client.exchange(Method::POST, Some(&ready)).await?;
        Ok((client, version))
    }

    /// What the tool `version` says.
    pub async fn version(&mut self) -> Result<String, CallError> {
        let params = json!({ "name": "version", "arguments": {} });
        let (_, result) = self.request("tools/call", &params).await?;
        text_at(&result, "/content/0/text", "the tool's text")
    }

    /// Has the tool `echo` say something back.
    pub async fn echo(&mut self) -> Result<(), CallError> {
        let params = json!({ "name": "echo", "arguments": { "text": "hello" } });
        self.request("tools/call", &params).await.map(drop)
    }

    /// How many tools there are.
    pub async fn tools(&mut self) -> Result<usize, CallError> {
        let (_, result) = self.request("tools/list", &json!({})).await?;
        let tools = result.pointer("/tools").and_then(Value::as_array);
        tools.map(Vec::len).ok_or(CallError::Lacks("a list of tools"))
    }

    /// Ends the session.
    pub async fn close(mut self) -> Result<(), CallError> {
        self.exchange(Method::DELETE, None).await.map(drop)
    }

    /// One JSON-RPC request; gives the headers of the answer and its result.
    async fn request(
        &mut self,
        method: &str,
        params: &Value,
    ) -> Result<(HeaderMap, Value), CallError> {
        self.last_id += 1;
        let id = self.last_id;
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let answer = self.exchange(Method::POST, Some(&message)).await?;
        let (head, body) = answer.into_parts();
        let mut message = find_answer(&head.headers, &body, id)?;
        if let Some(error) = message.get("error") {
            return Err(CallError::Rpc(error.to_string()));
        }
        Ok((head.headers, message["result"].take()))
    }

    /// One HTTP request, and its whole answer.
    async fn exchange(
        &mut self,
        method: Method,
        message: Option<&Value>,
    ) -> Result<Response<Bytes>, CallError> {
        let request = self.compose(method, message);
        timeout(PATIENCE, async {
            if self.sender.ready().await.is_err() {
                // A server may close a connection that rests; that is no event of the session.
                self.sender = connect(self.server).await?;
            }
            whole(self.sender.send_request(request).await?).await
        })
        .await
        .map_err(|_| CallError::Patience)?
    }

    fn compose(&self, method: Method, message: Option<&Value>) -> Request<Full<Bytes>> {
        let body = message.map(Value::to_string).unwrap_or_default();
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = http::Uri::from_static(PATH);
        let headers = request.headers_mut();
        let host = HeaderValue::try_from(self.server.to_string());
        headers.insert(header::HOST, host.expect("an address is visible ASCII"));
        let both = HeaderValue::from_static("application/json, text/event-stream");
        headers.insert(header::ACCEPT, both);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if !self.session.is_empty() {
            headers.insert(SESSION, self.session.clone());
            headers.insert("mcp-protocol-version", HeaderValue::from_static(REVISION));
        }
        request
    }
}

async fn connect(server: SocketAddr) -> Result<SendRequest<Full<Bytes>>, CallError> {
    let stream = TcpStream::connect(server).await?;
    // Small requests, each waited for: holding them back only adds 40 ms to each.
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Ends by itself when the sender is dropped; what breaks it, the sender says as well.
    tokio::spawn(connection);
    Ok(sender)
}

/// Reads an answer to its end, which also frees the connection for the next request.
async fn whole(answer: Response<Incoming>) -> Result<Response<Bytes>, CallError> {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await;
    let body = body.map_err(|error| CallError::Body(error.to_string()))?.to_bytes();
    if head.status.is_success() {
        return Ok(Response::from_parts(head, body));
    }
    let text = String::from_utf8_lossy(&body).chars().take(200).collect();
    Err(CallError::Status(head.status, text))
}

/// The JSON-RPC answer to `id`, from a JSON body or from the event that has it.
fn find_answer(headers: &HeaderMap, body: &[u8], id: u64) -> Result<Value, CallError> {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let text = String::from_utf8_lossy(body);
    let messages =
        if kind.starts_with(b"text/event-stream") { events(&text) } else { vec![text.into()] };
    messages
        .iter()
        .filter_map(|message| serde_json::from_str::<Value>(message).ok())
        .find(|message| {
            message["id"] == id
                && (message.get("result").is_some() || message.get("error").is_some())
        })
        .ok_or(CallError::Lacks("a result or an error"))
}

/// The data of each event; events without data only prime or keep alive.
fn events(stream: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut data = Vec::new();
    for line in stream.lines().chain([""]) {
        if let Some(rest) = line.strip_prefix("data:") {
            data.push(rest.strip_prefix(' ').unwrap_or(rest));
        } else if line.is_empty() {
            all.push(data.join("\n"));
            data.clear();
        }
    }
    all.retain(|event| !event.is_empty());
    all
}

fn text_at(value: &Value, pointer: &str, what: &'static str) -> Result<String, CallError> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned).ok_or(CallError::Lacks(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: &'static str, body: &str, want: Option<&str>) {
        let headers =
            HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
        let found = find_answer(&headers, body.as_bytes(), 7).ok();
        assert_eq!(found.as_ref().and_then(|value| value["result"].as_str()), want, "{body:?}");
    }

    #[test]
    fn answers_are_found_in_json_and_in_events() {
        check("application/json", r#"{"id":7,"result":"yes"}"#, Some("yes"));
        check("application/json", r#"{"id":8,"result":"other"}"#, None);
        check("application/json", "", None);
        let sse = "text/event-stream";
        check(sse, "data: {\"id\":7,\"result\":\"yes\"}\n\n", Some("yes"));
        check(sse, "data: \nid: 0\nretry: 3000\n\ndata:{\"id\":7,\"result\":\"x\"}\n\n", Some("x"));
        check(
            sse,
            "event: message\r\ndata: {\"id\":7,\r\ndata: \"result\":\"x\"}\r\n\r\n",
            Some("x"),
        );
        check(sse, "data: {\"method\":\"m\"}\n\ndata: {\"id\":7,\"result\":\"x\"}\n\n", Some("x"));
        check(sse, ": ping\n\n", None);
    }
}
