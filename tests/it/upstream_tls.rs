//! TLS to servers and webhooks through the real program: what works without it works with it, and
//! what is wrong with it is said in words that tell what to do.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::Notify;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::support::certificates::{Authority, Files, Speaks};
use crate::support::client::Connection;
use crate::support::health::check_at;
use crate::support::router::PROGRAM;
use crate::support::server::{answer, chunk, mcp, stream_head};
use crate::support::{INITIALIZE, MODERN, Router, Seen, Server, Step, WHOAMI};
use crate::support::{eventually, nobody, ours, post, said};

/// An authority and the files that it has made.
struct Scene {
    dir: TempDir,
    authority: Authority,
    ca: PathBuf,
}

impl Scene {
    fn new() -> Scene {
        let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
        let ca = authority.file(dir.path());
        Scene { dir, authority, ca }
    }

    /// A certificate.
    fn issue(&self, names: &[&str]) -> Files {
        self.authority.issue(self.dir.path(), names[0], names)
    }

    /// One that this machine's servers go by.
    fn own(&self) -> Files {
        self.issue(&["127.0.0.1", "localhost"])
    }

    /// One that is valid for these years.
    fn valid(&self, years: [i32; 2]) -> Files {
        let file = years[0].to_string();
        self.authority.issue_with(self.dir.path(), &file, &["127.0.0.1"], |params| {
            let [from, to] = years.map(|year| rcgen::date_time_ymd(year, 1, 1));
            (params.not_before, params.not_after) = (from, to);
        })
    }

    /// Settings of the primary arm that trust the authority.
    fn settings(&self, more: &str) -> String {
        format!("\n[primary.tls]\nca = '{}'\n{more}", self.ca.display())
    }
}

fn https(server: &Server) -> String {
    format!("https://{}/mcp", server.address)
}

async fn secure(files: &Files, speaks: Speaks<'_>) -> Server {
    Server::secure(speaks.with(files), mcp("one")).await
}

/// A router in front of one address, and of nobody on the other arm.
async fn before(primary: &[String], settings: &str) -> Router {
    Router::start_at(primary, &[format!("http://{}/mcp", nobody().await)], settings).await
}

/// A server that takes the first bytes for bad HTTP, as real ones do.
async fn plain() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 4096];
            let _ = stream.read(&mut bytes).await;
            let _ = stream.write_all(answer(400, &[], "").as_bytes()).await;
        }
    });
    address
}

/// Waits until the router has logged this.
async fn logged(router: &Router, words: &str) {
    eventually(words, async || router.log().contains(words).then_some(())).await;
}

/// Runs a command while the servers go on.
async fn cli(router: &Router, arguments: &[&str]) -> Output {
    Command::from(router.command(arguments)).output().await.unwrap()
}

#[tokio::test]
async fn what_works_without_tls_works_with_it() {
    let scene = Scene::new();
    let server = secure(&scene.own(), Speaks::default()).await;
    for version in [&TLS12, &TLS13] {
        let server = secure(&scene.own(), Speaks { version, ..Speaks::default() }).await;
        let url = format!("https://localhost:{}/mcp", server.address.port());
        let router = before(&[url], &format!("host = 'upstream'\n{}", scene.settings(""))).await;
        let session = post(router.address, &[], INITIALIZE).await.session();
        for _ in 0..3 {
            let reply = post(router.address, &[("mcp-session-id", &session)], WHOAMI).await;
            assert_eq!(reply.server(), "one");
            assert_eq!(post(router.address, &MODERN, WHOAMI).await.server(), "one");
        }
        let host = format!("localhost:{}", server.address.port());
        assert_eq!(server.last().header("host"), Some(host.as_str()));
        // Each worker has connections of its own.
        let opened = server.seen().iter().map(|seen| seen.connection).max().unwrap() + 1;
        let count = async |metric: &str| {
            router.metric(&format!("tidegate_upstream_{metric}_total"), &[]).await as usize
        };
        eventually("it is counted", async || {
            let counted = (count("connects").await, count("reused").await);
            (counted == (opened, 7 - opened)).then_some(())
        })
        .await;
    }
    let checked = check_at(&https(&server), &scene.settings(""), &["--stability=300ms"]).await;
    checked.is("healthy", "");
    let tls = &checked.body["tls"];
    assert_eq!((&tls["version"], &tls["name"]), (&json!("TLS 1.3"), &json!("127.0.0.1")));
    let connect = checked.body["steps"][0]["detail"].as_str().unwrap();
    assert!(connect.contains("TLS 1.3, certificate good for"), "{connect}");
}

#[tokio::test]
async fn streams_flow_and_a_client_that_leaves_closes_the_connection() {
    let (scene, go, gone) = (Scene::new(), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (until, told) = (Arc::clone(&go), Arc::clone(&gone));
    let server = Server::secure(Speaks::default().with(&scene.own()), move |_| {
        vec![
            Step::Send(stream_head(&[]) + &chunk("data: 1\n\n")),
            Step::Wait(Arc::clone(&until)),
            Step::Send(chunk("data: 2\n\n")),
            Step::UntilGone(Arc::clone(&told)),
        ]
    })
    .await;
    let router = before(&[https(&server)], &scene.settings("")).await;
    let mut connection = Connection::open(router.address).await;
    connection.request("POST", "/mcp", &MODERN, WHOAMI).await;
    connection.head().await;
    connection.until("data: 1").await;
    go.notify_one();
    connection.until("data: 2").await;
    drop(connection);
    gone.notified().await;
}

/// What `health-check` and `validate` say of an address.
async fn told(url: &str, settings: &str) -> String {
    let checked = check_at(url, settings, &[]).await;
    let reason = checked.body["reason"].as_str().unwrap().to_owned();
    assert_eq!(checked.code, i32::from(checked.body["verdict"] != "healthy"), "{reason}");
    let dir = TempDir::new().unwrap();
    let config = format!("{settings}\n[primary]\nendpoints = ['{url}']\n");
    std::fs::write(dir.path().join("tidegate.toml"), config).unwrap();
    let output = Command::new(PROGRAM)
        .args(["validate", "primary", "--json", "--config", "tidegate.toml", "--socket", "none"])
        .current_dir(dir.path())
        .env_clear()
        .output()
        .await
        .unwrap();
    let body: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    let checks = body["checks"].as_array().unwrap();
    let of = |id: &str| checks.iter().find(|it| it["id"] == id).unwrap().clone();
    if url.starts_with("https") {
        assert_eq!(of("connectivity")["result"], "ok", "{body:#}");
        let (is_well, tls) = (reason.contains("as it should be"), of("tls"));
        assert_eq!(tls["result"], if is_well { "ok" } else { "failed" }, "{tls:#}");
        assert!(is_well || tls["detail"] == reason, "{tls:#}");
        return if is_well { tls["detail"].as_str().unwrap().to_owned() } else { reason };
    }
    assert_eq!(of("tls")["result"], "skipped", "{body:#}");
    reason
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let (scene, strange) = (Scene::new(), Scene::new());
    let soon = scene.authority.issue_with(scene.dir.path(), "soon", &["127.0.0.1"], |params| {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let days = Duration::from_secs(12 * 24 * 60 * 60);
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + now + days;
    });
    let named = scene.issue(&["other.example", "10.1.1.1"]);
    let old = Speaks { version: &TLS12, ..Speaks::default() };
    for (files, speaks, more, words) in [
        (&scene.own(), Speaks::default(), "", "TLS 1.3, a trusted certificate for 127.0.0.1 for"),
        (&soon, Speaks::default(), "", "but only for 11 more days: renew it"),
        (&named, Speaks::default(), "", "is for other.example, 10.1.1.1 and not for 127.0.0.1"),
        (
            &named,
            Speaks::default(),
            "server_name = 'other.example'",
            "certificate for other.example",
        ),
        (
            &scene.valid([2001, 2002]),
            Speaks::default(),
            "",
            "expired at 2002-01-01T00:00:00Z: renew",
        ),
        (
            &scene.valid([2901, 2902]),
            Speaks::default(),
            "",
            "not valid before 2901-01-01T00:00:00Z",
        ),
        (&strange.own(), Speaks::default(), "", "put there the one that has signed it"),
        (&scene.own(), old, "min_version = '1.3'", "set `min_version` in [primary.tls] to 1.2"),
    ] {
        let server = secure(files, speaks).await;
        let told = told(&https(&server), &scene.settings(more)).await;
        assert!(told.contains(words), "{words}: {told}");
    }
    let server = secure(&scene.own(), Speaks::default()).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = |listener: &TcpListener| format!("https://{}/mcp", listener.local_addr().unwrap());
    let closing = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = at(&closing);
    let closing = tokio::spawn(async move { while closing.accept().await.is_ok() {} });
    for (url, more, words) in [
        (format!("https://{}/mcp", plain().await), "", "if it is plain HTTP, write `http://`"),
        (format!("http://{}/mcp", server.address), "", "write `https://` in its address"),
        (at(&silent), "[timeouts]\nconnect = '300ms'", "there was no TLS within 300ms"),
        (address, "", "in the TLS handshake"),
    ] {
        let told = told(&url, &scene.settings(more)).await;
        assert!(told.contains(words), "{words}: {told}");
    }
    closing.abort();
}

#[tokio::test]
async fn both_sides_show_who_they_are() {
    let (scene, strange) = (Scene::new(), Scene::new());
    let client_ca = Some(scene.ca.as_path());
    let (good, bad) = (scene.issue(&["router"]).settings(), strange.issue(&["router"]).settings());
    for (version, tickets) in [(&TLS12, 2), (&TLS13, 2), (&TLS13, 0)] {
        let server = secure(&scene.own(), Speaks { client_ca, version, tickets }).await;
        for (more, words) in [
            (good.as_str(), "a trusted certificate"),
            ("", "it wants a certificate of ours"),
            (&bad, "it refuses our certificate"),
        ] {
            let told = told(&https(&server), &scene.settings(more)).await;
            assert!(told.contains(words), "{version:?} {tickets} {words}: {told}");
        }
        assert_eq!(server.last().client.as_deref(), Some("router"));
    }
}

#[tokio::test]
async fn a_request_goes_to_the_next_server_when_one_refuses_us() {
    let scene = Scene::new();
    let speaks = Speaks { client_ca: Some(&scene.ca), ..Speaks::default() };
    let picky = secure(&scene.own(), speaks).await;
    let open = secure(&scene.own(), Speaks::default()).await;
    let settings = format!("{}[log]\nlevel = 'debug'\n", scene.settings(""));
    let router = before(&[https(&picky), https(&open)], &settings).await;
    // A caller keeps to an endpoint, so it takes many of them to find both.
    for number in 0..20 {
        let caller = format!("Bearer {number}");
        let headers = [&MODERN[..], &[("authorization", &caller)]].concat();
        assert_eq!(post(router.address, &headers, WHOAMI).await.server(), "one");
    }
    logged(&router, "attempt failed endpoint=https").await;
    assert!(picky.seen().is_empty());
    let settings = scene.settings("[health]\ninterval = '100ms'\n");
    let router = before(&[https(&picky)], &settings).await;
    ours(&post(router.address, &MODERN, WHOAMI).await, 503, "server_unreachable");
    logged(&router, "handshake: it wants a certificate of ours").await;
}

#[tokio::test]
async fn another_certificate_is_shown_after_a_reload() {
    let scene = Scene::new();
    let speaks = Speaks { client_ca: Some(&scene.ca), ..Speaks::default() };
    let server = secure(&scene.own(), speaks).await;
    let old = scene.issue(&["old"]);
    let router = before(&[https(&server)], &scene.settings(&old.settings())).await;
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (stop, at) = (Arc::clone(&stop), router.address);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(post(at, &MODERN, WHOAMI).await.server(), "one");
                }
            })
        })
        .collect();
    let reload = || async {
        let output = cli(&router, &["reload"]).await;
        assert!(output.status.success(), "{}", said(&output));
    };
    server.arrived().await;
    reload().await;
    assert_eq!(server.last().client.as_deref(), Some("old"));
    // Others take the place of the files.
    let new = scene.issue(&["new"]);
    std::fs::rename(&new.certificate, &old.certificate).unwrap();
    std::fs::rename(&new.key, &old.key).unwrap();
    reload().await;
    let seen = server.seen().len();
    eventually("further calls", async || (server.seen().len() > seen + 100).then_some(())).await;
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    // What was on its way at the reload may come after it.
    let last: Vec<_> = server.seen()[seen + 50..].iter().map(|it| it.client.clone()).collect();
    assert!(last.iter().all(|it| it.as_deref() == Some("new")), "{last:?}");
}

#[tokio::test]
async fn webhooks_are_called_with_tls() {
    let (scene, strange) = (Scene::new(), Scene::new());
    let speaks = Speaks { client_ca: Some(&scene.ca), ..Speaks::default() };
    let receive = |_: &Seen| vec![Step::Send(answer(200, &[], "\"ok\"")), Step::Close];
    let open = Server::secure(Speaks::default().with(&scene.own()), receive).await;
    let picky = Server::secure(speaks.with(&scene.own()), receive).await;
    let hook = |name: &str, at: SocketAddr, more: &str| {
        let url = format!("https://{at}/secret");
        format!("[[notify.webhooks]]\nname = '{name}'\nurl = '{url}'\nformat = 'slack'\n{more}\n")
    };
    let ca = |scene: &Scene| format!("ca = '{}'\n", scene.ca.display());
    let own = format!("{}{}", ca(&scene), scene.issue(&["router"]).settings());
    let hooks = [
        hook("system", open.address, ""),
        hook("named", open.address, &ca(&scene)),
        hook("own", picky.address, &own),
        hook("strange", open.address, &ca(&strange)),
        hook("bare", picky.address, &ca(&scene)),
        hook("plain", plain().await, ""),
    ];
    let dir = before(&[https(&open)], &format!("\n{}", hooks.concat())).await.into_dir();
    // What the operating system trusts.
    let roots = format!("SSL_CERT_FILE={}", scene.ca.display());
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let router = Router::spawn_under(&["env", &roots], dir, log.into()).await;
    let output = cli(&router, &["notify", "test", "--json"]).await;
    let all: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    for (name, words) in [
        ("system", None),
        ("named", None),
        ("own", None),
        ("strange", Some("which is `ca` in its [[notify.webhooks]]")),
        ("bare", Some("it wants a certificate of ours")),
        ("plain", Some("if it is plain HTTP, write `http://`")),
    ] {
        let one = all.as_array().unwrap().iter().find(|it| it["webhook"] == name).unwrap();
        match words {
            None => assert_eq!(one["status"], 200, "{all:#}"),
            Some(words) => assert!(one.to_string().contains(words), "{words}: {all:#}"),
        }
    }
    assert!(!router.log().contains("/secret"));
}

#[tokio::test]
async fn webhooks_are_shown_a_certificate_that_was_renewed() {
    let scene = Scene::new();
    let speaks = Speaks { client_ca: Some(&scene.ca), ..Speaks::default() };
    let receive = |_: &Seen| vec![Step::Send(answer(200, &[], "")), Step::Close];
    let hooks = Server::secure(speaks.with(&scene.own()), receive).await;
    let own = scene.issue(&["old"]);
    let settings = format!(
        "\n[[notify.webhooks]]\nname = 'own'\nurl = '{}'\nca = '{}'\n{}",
        https(&hooks),
        scene.ca.display(),
        own.settings()
    );
    let router = Router::start(&[nobody().await], &[nobody().await], &settings).await;
    let shown = async || {
        cli(&router, &["notify", "test"]).await;
        hooks.seen().last().and_then(|it| it.client.clone())
    };
    assert_eq!(shown().await.as_deref(), Some("old"));
    let labels = ["name=\"old\"", "used_by=\"notify\""];
    assert!(router.metric("tidegate_tls_certificate_not_after_seconds", &labels).await > 1e9);
    let new = scene.issue(&["new"]);
    std::fs::rename(&new.key, &own.key).unwrap();
    std::fs::rename(&new.certificate, &own.certificate).unwrap();
    let renewed = async || (shown().await.as_deref() == Some("new")).then_some(());
    eventually("the new one is shown", renewed).await;
}

#[tokio::test]
async fn a_redirect_in_which_a_server_names_itself_becomes_public() {
    let scene = Scene::new();
    let server = Server::secure(Speaks::default().with(&scene.own()), |seen| {
        let to = format!("https://{}/mcp/", seen.header("host").unwrap());
        vec![Step::Send(answer(307, &[("location", &to)], ""))]
    })
    .await;
    let settings = format!("host = 'upstream'\n{}", scene.settings(""));
    let router = before(&[https(&server)], &settings).await;
    let reply = post(router.address, &MODERN, WHOAMI).await;
    let public = format!("http://{}/mcp/", router.address);
    assert_eq!(reply.header("location"), Some(public.as_str()));
}
