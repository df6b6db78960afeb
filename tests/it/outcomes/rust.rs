//! The Rust SDK's server with the faults of the other fixtures: the same tools, and the header
//! `x-fault` with `500` and `cut`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{
    CompleteRequestParams, CompleteResult, ErrorCode, ProgressNotificationParam, RequestMetaObject,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, Peer, RoleServer, ServerHandler, schemars, tool, tool_handler, tool_router};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

type Mcp = StreamableHttpService<Faulty, LocalSessionManager>;

/// Starts a server, which ends with what is returned.
pub async fn start(json: bool) -> (JoinSet<()>, SocketAddr) {
    // An event with an id would let the client come back for the rest.
    let config = StreamableHttpServerConfig::default()
        .with_sse_retry(None)
        .with_legacy_session_mode(!json)
        .with_json_response(json);
    let mcp = Mcp::new(|| Ok(Faulty), Arc::default(), config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(connection(stream, mcp.clone()));
        }
    });
    (server, address)
}

async fn connection(stream: TcpStream, mcp: Mcp) {
    let cut = Notify::new();
    let service = service_fn(|request| answer(request, &mcp, &cut));
    // A request on a connection that had been open could have met its end by chance; this cannot.
    let served = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // How it ends is the client's affair.
        _ = served => {}
        () = cut.notified() => {}
    }
}

async fn answer(
    request: Request<Incoming>,
    mcp: &Mcp,
    cut: &Notify,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let fault = request.headers().get("x-fault").map(|fault| fault.to_str().unwrap().to_owned());
    match fault.as_deref() {
        Some("500") => {
            let mut response = Response::new(Full::from("Internal Server Error").boxed());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            return Ok(response);
        }
        Some(_) => cut.notify_one(),
        None => {}
    }
    Ok(mcp.handle(request).await)
}

fn raised(code: i32) -> ErrorData {
    ErrorData::new(ErrorCode(code), "raising as told", None)
}

#[derive(Clone, Debug)]
struct Faulty;

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct Echo {
    text: String,
}

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct RaiseCode {
    code: i32,
}

#[tool_router]
impl Faulty {
    #[tool]
    async fn echo(&self, Parameters(Echo { text }): Parameters<Echo>) -> String {
        text
    }

    #[tool]
    async fn fail(&self) -> Result<String, String> {
        Err("failing as told".to_owned())
    }

    #[tool]
    async fn raise_code(
        &self,
        Parameters(RaiseCode { code }): Parameters<RaiseCode>,
    ) -> Result<String, ErrorData> {
        Err(raised(code))
    }

    #[tool]
    async fn hang(&self, meta: RequestMetaObject, client: Peer<RoleServer>) -> String {
        let token = meta.get_progress_token().expect("our client gives one");
        client.notify_progress(ProgressNotificationParam::new(token, 1.)).await.unwrap();
        std::future::pending().await
    }
}

#[tool_handler]
impl ServerHandler for Faulty {
    async fn complete(
        &self,
        params: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Err(raised(params.argument.value.parse().unwrap()))
    }

    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_completions().build())
    }
}
