//! The Rust SDK as a client, in both eras, against servers of other SDKs: the one released client
//! that opens a new session by itself when its own is gone.

#![expect(deprecated, reason = "servers go on asking the client's model until all revisions end")]

use std::sync::Mutex;

use rmcp::handler::client::ClientHandler;
use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, ClientConfig, CreateMessageRequestParams,
    CreateMessageResult, ElicitRequestParams, ElicitResult, ElicitationAction, Implementation,
    JsonObject, ProgressNotificationParam, ProtocolVersion, SamplingMessage,
};
use rmcp::service::{
    ClientLifecycleMode, ClientServiceExt as _, NotificationContext, RequestContext, RoleClient,
    RunningService,
};
use rmcp::transport::StreamableHttpClientTransport;
use serde_json::{Value, json};

use crate::support::real::{Stand, VERSIONS, pairs_of};
use crate::support::{Router, eventually};

/// A person with a model at hand.
#[derive(Default)]
struct Person {
    progress: Mutex<Vec<f64>>,
}

impl ClientHandler for Person {
    async fn create_message(
        &self,
        params: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, rmcp::ErrorData> {
        let prompt = serde_json::to_value(&params.messages[0]).unwrap();
        let text = format!("ebb after {}", prompt["content"]["text"].as_str().unwrap());
        Ok(CreateMessageResult::new(SamplingMessage::assistant_text(text), "tide".to_owned()))
    }

    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, rmcp::ErrorData> {
        let content = json!({ "answer": "seven" });
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(content))
    }

    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.progress.lock().unwrap().push(params.progress);
    }

    fn get_info(&self) -> ClientConfig {
        let able = ClientCapabilities::builder().enable_sampling().enable_elicitation().build();
        ClientConfig::new(able, Implementation::new("rust", "0"))
    }
}

type Client = RunningService<RoleClient, Person>;

async fn connect(router: &Router, lifecycle: ClientLifecycleMode) -> Client {
    let transport =
        StreamableHttpClientTransport::from_uri(format!("http://{}/mcp", router.address));
    Person::default().serve_with_lifecycle(transport, lifecycle).await.unwrap()
}

/// Calls a tool and gives the text of its answer.
async fn call(client: &Client, tool: &'static str, arguments: Value) -> String {
    let arguments: JsonObject = serde_json::from_value(arguments).unwrap();
    let params = CallToolRequestParams::new(tool).with_arguments(arguments);
    let answer = client.call_tool(params).await.unwrap_or_else(|error| panic!("{tool}: {error}"));
    answer.content[0].as_text().unwrap().text.clone()
}

/// Which of the two versions answers.
async fn version(client: &Client) -> String {
    let told: Value = serde_json::from_str(&call(client, "whoami", json!({})).await).unwrap();
    told["version"].as_str().unwrap().to_owned()
}

/// Tools, questions of the server to the client, and progress.
async fn use_everything(client: &Client) {
    let tools = client.list_all_tools().await.unwrap();
    assert!(tools.iter().any(|tool| tool.name == "whoami"), "{tools:?}");
    assert_eq!(call(client, "echo", json!({ "text": "潮" })).await, "潮");
    let asked = call(client, "ask_model", json!({ "prompt": "high" })).await;
    assert_eq!(asked, "model said: ebb after high");
    let asked = call(client, "ask_user", json!({ "question": "how deep?" })).await;
    assert!(asked.starts_with("user said: "), "{asked}");
    assert!(asked.contains("seven"), "{asked}");
    assert_eq!(call(client, "count", json!({ "steps": 5, "delay_ms": 20 })).await, "counted 5");
    // A notification and the answer may be handled side by side.
    eventually("five steps of progress", || async {
        (*client.service().progress.lock().unwrap() == [1., 2., 3., 4., 5.]).then_some(())
    })
    .await;
}

/// A session on either arm: the weights go all the way to the other one as soon as it is open.
async fn keeps_its_session(server: &str) {
    let stand = Stand::of(&pairs_of(server)[0]).await;
    let router = &stand.router;
    for (number, (begin, own)) in
        [((100, 0), VERSIONS[0]), ((0, 100), VERSIONS[1])].into_iter().enumerate()
    {
        router.split(begin.0, begin.1).await;
        let client = connect(router, ClientLifecycleMode::Initialize).await;
        router.split(begin.1, begin.0).await;
        assert_eq!(version(&client).await, own);
        use_everything(&client).await;
        assert_eq!(version(&client).await, own);
        client.cancel().await.unwrap();
        let ended = number as f64 + 1.;
        eventually("the DELETE is counted", || async {
            let labels = ["method=\"_delete\"", "outcome=\"ok\""];
            let counted = router.metric("tidegate_exchanges_total", &labels).await;
            (counted >= ended).then_some(())
        })
        .await;
    }
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn rust_client_keeps_its_session_with_python_1() {
    keeps_its_session("py1").await;
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn rust_client_keeps_its_session_with_python_2() {
    keeps_its_session("py2").await;
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn rust_client_keeps_its_session_with_typescript_1() {
    keeps_its_session("ts1").await;
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn rust_client_keeps_its_session_with_typescript_2() {
    keeps_its_session("ts2").await;
}

/// In the modern era all of a client's requests are one principal's, so one split serves it.
async fn discovers(server: &str) {
    let stand = Stand::of(&pairs_of(server)[0]).await;
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    let lifecycle = ClientLifecycleMode::Discover { preferred_versions };
    let client = connect(&stand.router, lifecycle).await;
    let own = version(&client).await;
    use_everything(&client).await;
    assert_eq!(version(&client).await, own);
    client.cancel().await.unwrap();
    assert!(stand.router.metric("tidegate_sessions_opened_total", &[]).await < 1.);
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn rust_client_discovers_python_2() {
    discovers("py2").await;
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn rust_client_discovers_typescript_2() {
    discovers("ts2").await;
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn rust_client_opens_a_new_session_when_the_routers_key_is_lost() {
    let mut stand = Stand::of(&pairs_of("ts1")[0]).await;
    let client = connect(&stand.router, ClientLifecycleMode::Initialize).await;
    version(&client).await;
    // The client goes on using the same address.
    let address = stand.router.address;
    stand
        .router
        .edit("listen = \"127.0.0.1:0\"\nstate_dir", &format!("listen = \"{address}\"\nstate_dir"));
    std::fs::remove_file(stand.router.dir.path().join("state/session.key")).unwrap();
    stand.router = stand.router.restart().await;
    assert_eq!(stand.router.address, address);
    assert!(VERSIONS.contains(&version(&client).await.as_str()));
    let opened = eventually("the new session is counted", || async {
        let opened = stand.router.metric("tidegate_sessions_opened_total", &[]).await;
        (opened > 0.).then_some(opened)
    })
    .await;
    assert!((0.5..1.5).contains(&opened), "{opened} sessions opened since the restart");
    use_everything(&client).await;
    client.cancel().await.unwrap();
}
