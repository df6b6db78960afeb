//! Who may do what on which admin socket; slow and strange peers of the control plane's listeners.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::admin::client::ask;
use tidegate::admin::verbs::{Level, VERBS};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

use crate::support::{Router, Server, get, said};

const TOKEN: &str = "a token of at least 16 bytes";

/// Both sockets, a receiver of alerts, and figures that want a token; nobody asks the servers.
async fn router(settings: &str) -> Router {
    let nobody = Server::mcp("one").await.address;
    let settings = format!(
        "\n[admin.read_only]\nsocket = 'status.sock'\nmode = '0666'\n{settings}\n\
         [alerts]\nlisten = '127.0.0.1:0'\ntoken = '{TOKEN}'"
    );
    Router::start(&[nobody], &[nobody], &settings).await
}

fn status_socket(router: &Router) -> PathBuf {
    router.dir.path().join("status.sock")
}

#[tokio::test]
async fn nothing_is_changed_on_the_read_only_socket() {
    let mut router = router("").await;
    let socket = status_socket(&router);
    for verb in VERBS {
        let asked = ask::<Value>(&socket, verb.method.clone(), verb.path, &json!({})).await;
        let why = asked.err().map(|it| it.to_string()).unwrap_or_default();
        let forbidden = "nothing can be changed on this socket, by anybody: use admin.sock";
        assert_eq!(why == forbidden, verb.level == Level::Change, "{verb:?}: {why}");
        assert!(!why.contains("takes other parameters"), "{verb:?}");
    }
    let status = router.cli(&["status", "--socket", "status.sock"]);
    assert_eq!(status.status.code(), Some(0), "{}", said(&status));
    let split = router.cli(&["set-traffic-split", "secondary:5", "--socket", "status.sock"]);
    assert_eq!(split.status.code(), Some(1));
    assert!(said(&split).contains("use admin.sock"), "{}", said(&split));
    router.stop().await;
    assert!(!socket.exists() && !router.socket().exists());
}

/// What curl hears as another user, who is in no group but its first one: a status and a body.
fn stranger(gid: u32, socket: &PathBuf, method: &str, path: &str) -> (String, String) {
    let output = std::process::Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", &gid.to_string(), "--clear-groups", "curl"])
        .args(["-sS", "-m", "5", "-w", "\n%{http_code}", "-X", method, "--unix-socket"])
        .arg(socket)
        .args(["-d", "{}", &format!("http://x{path}")])
        .output()
        .unwrap();
    let said = said(&output);
    let (body, status) = said.trim().rsplit_once('\n').unwrap_or(("", &said));
    (status.to_owned(), body.to_owned())
}

#[tokio::test]
async fn others_may_what_the_configuration_says() {
    if !nix::unistd::getuid().is_root() {
        eprintln!("not tested: only root can be somebody else");
        return;
    }
    if std::process::Command::new("curl").arg("--version").output().is_err() {
        eprintln!("not tested: there is no curl, which tests/run installs");
        return;
    }
    let router = router("users = []\ngroups = []\n[admin]\nmode = '0666'\ngroups = []").await;
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(router.dir.path(), open).unwrap();
    let (both, status) = (router.socket(), status_socket(&router));
    let mut names = "users = []\ngroups = []\n[admin]\nmode = '0666'\ngroups = []".to_owned();
    // By user, by first group, by the group that the user database tells: nogroup.
    for (users, groups, admin, gid, read, change) in [
        ("", "", "", 7000, "403", "403"),
        ("65534", "", "", 7000, "200", "403"),
        ("", "7000", "", 7000, "200", "403"),
        ("", "65534", "", 7000, "200", "403"),
        ("", "65534", "7001", 7000, "200", "403"),
        ("", "", "7000", 7000, "200", "400"),
        ("", "", "65534", 7000, "200", "400"),
        ("0", "0", "0", 7000, "403", "403"),
    ] {
        let quoted = |id: &str| if id.is_empty() { String::new() } else { format!("'{id}'") };
        let (users, groups, admin) = (quoted(users), quoted(groups), quoted(admin));
        let now = format!(
            "users = [{users}]\ngroups = [{groups}]\n[admin]\nmode = '0666'\ngroups = [{admin}]"
        );
        router.edit(&names, &now);
        names = now;
        assert_eq!(router.cli(&["reload"]).status.code(), Some(0), "{names}");
        let change_at = |socket| stranger(gid, socket, "POST", "/v1/drain");
        for socket in [&both, &status] {
            assert_eq!(stranger(gid, socket, "GET", "/v1/status").0, read, "{names}");
        }
        let (code, why) = change_at(&both);
        // Whoever may is told that something is missing.
        assert_eq!(code, change, "{names}: {why}");
        assert_eq!(change_at(&status).0, "403", "{names}");
        if read == "403" {
            assert!(why.contains("uid 65534 gid 7000 pid") && why.contains("may not use"), "{why}");
        } else if change == "403" {
            assert!(why.contains("may look and change nothing"), "{why}");
        }
    }
}

#[tokio::test]
async fn a_file_mode_speaks_before_the_router_does() {
    if !nix::unistd::getuid().is_root() {
        eprintln!("not tested: only root can be somebody else");
        return;
    }
    let router = router("users = ['65534']").await;
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(router.dir.path(), open).unwrap();
    // The program itself may lie where others cannot go.
    let program = router.dir.path().join("tidegate");
    std::fs::copy(crate::support::router::PROGRAM, &program).unwrap();
    let cli = |arguments: &[&str]| {
        let output = std::process::Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(&program)
            .args(arguments)
            .current_dir(router.dir.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .output()
            .unwrap();
        (output.status.code(), said(&output))
    };
    let (code, said) = cli(&["status", "--socket", "admin.sock"]);
    assert!(code == Some(2) && said.contains("may not connect to admin.sock"), "{said}");
    router.edit("[admin.read_only]", "[admin]\nsocket = 'admin.sock'\n[admin.read_only]");
    let (code, said) = cli(&["status", "--config", "tidegate.toml"]);
    assert_eq!(code, Some(0), "what only asks goes on to the other socket: {said}");
    let (code, said) = cli(&["alert", "clear", "1", "--reason", "x", "--config", "tidegate.toml"]);
    assert!(code == Some(2) && said.contains("may not connect"), "{said}");
}

#[tokio::test]
async fn slow_peers_keep_nobody_out() {
    let router = router("").await;
    let status = router.status().await.unwrap();
    let alerts = status["alerts_listen"].as_str().unwrap().to_owned();
    let half = b"POST /v1/alertmanager HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n";
    let (mut tcp, mut unix) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        for to in [&alerts, &router.metrics.to_string()] {
            let mut stream = TcpStream::connect(to).await.unwrap();
            stream.write_all(half).await.unwrap();
            tcp.push(stream);
        }
        let mut stream = UnixStream::connect(router.socket()).await.unwrap();
        stream.write_all(half).await.unwrap();
        unix.push(stream);
    }
    let began = Instant::now();
    let figures = get(router.metrics, "/metrics", &[]).await;
    // A few milliseconds on an idle machine, and long before any of the others is out of time.
    assert!(figures.status == 200 && began.elapsed() < Duration::from_secs(3));
    assert_eq!(get(alerts.parse().unwrap(), "/", &[]).await.status, 405);
    router.status().await.unwrap();
    // Whoever was first is gone.
    assert!(matches!(tcp[0].read(&mut [0]).await, Ok(0) | Err(_)));
    assert!(matches!(unix[0].read(&mut [0]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn garbage_is_answered_or_cut_and_survived() {
    let router = router("").await;
    let status = router.status().await.unwrap();
    let alerts = status["alerts_listen"].as_str().unwrap().to_owned();
    let wide = format!("GET /metrics HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "x".repeat(20_000));
    for garbage in [
        "\0\0\0\0\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0\x01\x7c\x03\x03\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET  /metrics HTTP/9.9\r\n\r\n",
        "DELETE /v2 HTTP/1.1\r\nhost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1, 2\r\n\r\nx",
        &wide,
    ] {
        for to in [&alerts, &router.metrics.to_string()] {
            let mut stream = TcpStream::connect(to).await.unwrap();
            let _ = stream.write_all(garbage.as_bytes()).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{garbage}: {answer}");
        }
    }
    assert_eq!(get(router.metrics, "/live", &[]).await.status, 200);
}

#[tokio::test]
async fn a_body_has_its_bound() {
    let router = router("").await;
    let long = json!({ "reason": "x".repeat(70_000) });
    for path in ["/v1/state/backups", "/v1/explain", "/v1/rollout/start"] {
        let refused = router.admin("POST", path, long.clone()).await.unwrap_err().to_string();
        assert_eq!(refused, "a body of more than 64 KiB", "{path}");
    }
    let refused = router.admin("POST", "/v1/state", long).await.unwrap_err().to_string();
    assert!(refused.contains("not what this path takes"), "{refused}");
}

#[tokio::test]
async fn figures_want_the_token_that_is_in_force() {
    let router = router("").await;
    let with = |token: &str| format!("[metrics]\ntoken = '{token}'");
    router.edit("[metrics]", &with(TOKEN));
    assert_eq!(router.cli(&["reload"]).status.code(), Some(0));
    let asked = async |path, token: &str| {
        let shown = format!("Bearer {token}");
        let headers = [("authorization", shown.as_str())];
        let reply = get(router.metrics, path, if token.is_empty() { &[] } else { &headers }).await;
        reply.status
    };
    for (path, bare) in [("/metrics", 401), ("/", 401), ("/live", 200), ("/ready", 200)] {
        assert_eq!(asked(path, "").await, bare, "{path}");
        assert_eq!(asked(path, "a token of at least 17 bytes").await, bare, "{path}");
    }
    assert_eq!(asked("/metrics", TOKEN).await, 200);
    let bare = get(router.metrics, "/metrics", &[]).await;
    assert_eq!(bare.header("www-authenticate"), Some("Bearer realm=\"tidegate metrics\""));
    let new = "another token of at least 16 bytes";
    router.edit(&with(TOKEN), &with(new));
    assert_eq!(router.cli(&["reload"]).status.code(), Some(0));
    assert_eq!((asked("/metrics", TOKEN).await, asked("/metrics", new).await), (401, 200));
    // Our own commands need none.
    let figures = router.admin("GET", "/v1/metrics", json!({})).await.unwrap();
    assert!(figures["text"].as_str().unwrap().contains("tidegate_build_info"));
}
