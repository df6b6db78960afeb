//! A small real MCP server: what stands behind the router in `tidegate demo`.
//!
//! It is the Rust SDK's own streamable-HTTP server, so that the demo shows the router against a
//! server that nobody wrote for it. Two of them differ in nothing but the version they give.
//! Does not know: the router, arms, weights.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{
    Implementation, ProgressNotificationParam, RequestMetaObject, ServerCapabilities, ServerConfig,
};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{Peer, RoleServer, ServerHandler, schemars, tool, tool_handler, tool_router};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The name that both servers give as their own.
pub const NAME: &str = "tidegate-demo";

/// The path of the MCP endpoint.
pub const PATH: &str = "/mcp";

/// Most steps that `count` takes: 15 s at [`STEP`], which nobody has to wait for longer.
const MAX_STEPS: u32 = 60;

/// Between two steps of `count`: slow enough to see progress come in, quick enough to stay for.
const STEP: Duration = Duration::from_millis(250);

/// After a failed accept: time for another connection to give its descriptor back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

type Mcp = StreamableHttpService<Demo, LocalSessionManager>;

/// Serves MCP on `listener` until `stop`; its connections and sessions end with it. While `broken`
/// is set, the tool `echo` fails.
pub async fn serve(
    listener: TcpListener,
    version: &'static str,
    broken: Arc<AtomicBool>,
    stop: impl Future<Output = ()>,
) {
    let config = StreamableHttpServerConfig::default();
    // A guard instead of a call at the end: dropping this future must end the sessions as well.
    let _sessions_end = config.cancellation_token.clone().drop_guard();
    let mcp =
        Mcp::new(move || Ok(Demo { version, broken: broken.clone() }), Arc::default(), config);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, mcp.clone()));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {} // so that finished ones are not kept
        }
    }
}

/// One connection. How it ends is the client's affair.
async fn connection(stream: TcpStream, mcp: Mcp) {
    let service = service_fn(|request| answer(request, &mcp));
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
    drop(served);
}

/// The SDK answers on any path; a real server has one.
async fn answer(
    request: Request<Incoming>,
    mcp: &Mcp,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    if request.uri().path() == PATH {
        return Ok(mcp.handle(request).await);
    }
    let text = format!("MCP is at {PATH}\n");
    let mut response = Response::new(Full::from(text).boxed());
    *response.status_mut() = StatusCode::NOT_FOUND;
    Ok(response)
}

// === impl Demo ===

/// The server's side of a session.
#[derive(Clone, Debug)]
struct Demo {
    version: &'static str,
    broken: Arc<AtomicBool>,
}

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct Echo {
    /// What to say back.
    text: String,
}

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct Add {
    a: f64,
    b: f64,
}

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct Count {
    /// How far to count, four steps a second; at most 60.
    steps: u32,
}

#[tool_router]
impl Demo {
    #[tool(description = "Says the text back")]
    async fn echo(
        &self,
        Parameters(Echo { text }): Parameters<Echo>,
    ) -> Result<String, rmcp::ErrorData> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(rmcp::ErrorData::internal_error("echo is broken in this version", None));
        }
        Ok(text)
    }

    #[tool(description = "The version of the server that answers")]
    async fn version(&self) -> String {
        self.version.to_owned()
    }

    #[tool(description = "Adds two numbers")]
    async fn add(&self, Parameters(Add { a, b }): Parameters<Add>) -> String {
        (a + b).to_string()
    }

    #[tool(description = "Counts slowly, with a progress notification at each step")]
    async fn count(
        &self,
        Parameters(Count { steps }): Parameters<Count>,
        meta: RequestMetaObject,
        client: Peer<RoleServer>,
    ) -> Result<String, rmcp::ErrorData> {
        if steps > MAX_STEPS {
            return Err(rmcp::ErrorData::invalid_params(
                format!("steps is at most {MAX_STEPS}"),
                None,
            ));
        }
        for step in 1..=steps {
            tokio::time::sleep(STEP).await;
            let Some(token) = meta.get_progress_token() else { continue };
            let progress =
                ProgressNotificationParam::new(token, f64::from(step)).with_total(f64::from(steps));
            // A client that is gone ends this call by itself; nothing to do about it here.
            let _sent = client.notify_progress(progress).await;
        }
        Ok(format!("counted to {steps}"))
    }
}

#[tool_handler]
impl ServerHandler for Demo {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new(NAME, self.version))
            .with_instructions("A small server to try tidegate with")
    }
}
