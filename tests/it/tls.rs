//! TLS for clients: what they are shown, who may connect, what whoever may not is told, and
//! certificates that change under load.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::date_time_ymd;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_rustls::rustls::ProtocolVersion::{TLSv1_2, TLSv1_3};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::support::certificates::{Authority, Files};
use crate::support::client::Connection;
use crate::support::secure::{Visitor, is_resumed, negotiated, shown};
use crate::support::{MODERN, Router, Server, WHOAMI, eventually, nobody, said};

const HOST: &str = "mcp.example";

/// A router with TLS, its server, and what its clients trust.
struct House {
    router: Router,
    server: Server,
    authority: Authority,
    dir: TempDir,
}

impl House {
    /// `more` stands in the section `[tls]`, or behind it.
    async fn new(more: impl FnOnce(&Authority, &Path) -> String) -> House {
        let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
        authority.file(dir.path());
        let own = authority.issue(dir.path(), "own", &[HOST]).settings();
        let settings = format!("\n[tls]\n{own}{}", more(&authority, dir.path()));
        let server = Server::mcp("one").await;
        let router = Router::start(&[server.address], &[nobody().await], &settings).await;
        House { router, server, authority, dir }
    }

    async fn plain() -> House {
        House::new(|_, _| String::new()).await
    }

    fn visitor(&self) -> Visitor {
        Visitor::new(&self.dir.path().join("ca.pem"), HOST)
    }

    /// How many handshakes ended so.
    async fn counted(&self, result: &str) -> u64 {
        let label = format!("result=\"{result}\"");
        let labels = ["listener=\"listen\"", label.as_str()];
        self.router.metric("tidegate_tls_handshakes_total", &labels).await as u64
    }

    /// Whether the files could be read when they last changed, as Prometheus is told.
    async fn all_read(&self) -> bool {
        self.router.metric("tidegate_tls_files_last_read_successful", &[]).await > 0.5
    }

    /// Puts another certificate into the files of the first.
    fn renew(&self) -> Vec<u8> {
        der(&self.authority.issue(self.dir.path(), "own", &[HOST]))
    }

    /// Waits until a certificate is the one that new clients see.
    async fn shows(&self, wanted: &[u8]) {
        let show = async || {
            let stream = self.visitor().connect(self.router.address).await.unwrap();
            (shown(&stream) == wanted).then_some(())
        };
        eventually("the new certificate is shown", show).await;
    }
}

/// The certificate in a file.
fn der(files: &Files) -> Vec<u8> {
    CertificateDer::from_pem_file(&files.certificate).unwrap().to_vec()
}

#[tokio::test]
async fn versions_and_protocols() {
    let house = House::plain().await;
    let (ca, to) = (house.dir.path().join("ca.pem"), house.router.address);
    for (version, name) in [(&TLS12, TLSv1_2), (&TLS13, TLSv1_3)] {
        for (asked, agreed) in [
            (vec![], None),
            (vec!["http/1.1"], Some("http/1.1")),
            (vec!["h2", "http/1.1"], Some("h2")),
            (vec!["http/1.1", "h2"], Some("h2")),
        ] {
            let visitor = Visitor::with(&ca, HOST, None, &[version]).alpn(&asked);
            let stream = visitor.connect(to).await.unwrap();
            assert_eq!(negotiated(&stream), (name, agreed.map(str::to_owned)));
            if agreed == Some("h2") {
                continue;
            }
            assert_eq!(visitor.post(to, &MODERN, WHOAMI).await.server(), "one");
        }
    }
    let refused = house.visitor().alpn(&["imap"]).refused(to).await;
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
    assert!(house.counted("no_common_protocol").await > 0);
    let seen = house.server.seen();
    assert_eq!(seen[0].header("x-forwarded-proto"), Some("https"));
    assert!(house.router.log().contains(&format!("https://{to}/mcp")));
}

#[tokio::test]
async fn http2_inside() {
    let house = House::plain().await;
    let stream = house.visitor().alpn(&["h2"]).connect(house.router.address).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::post(format!("https://{HOST}/mcp"));
    for (name, value) in MODERN.into_iter().chain([
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ]) {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::from_static(WHOAMI.as_bytes()))).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("\"one\""), "{body:?}");
}

#[tokio::test]
async fn what_was_agreed_on_holds() {
    let house = House::plain().await;
    for (agreed, said) in
        [("http/1.1", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), ("h2", "GET /mcp HTTP/1.1\r\n\r\n")]
    {
        let stream = house.visitor().alpn(&[agreed]).connect(house.router.address).await.unwrap();
        let mut connection = Connection::over(stream, house.router.address);
        connection.send(said).await;
        assert!(connection.closed().await);
    }
}

#[tokio::test]
async fn only_the_newest_version_if_that_is_wanted() {
    let house = House::new(|_, _| "min_version = \"1.3\"\n".to_owned()).await;
    let ca = house.dir.path().join("ca.pem");
    let old = Visitor::with(&ca, HOST, None, &[&TLS12]);
    let refused = old.refused(house.router.address).await;
    assert!(refused.contains("ProtocolVersion"), "{refused}");
    assert_eq!(house.counted("no_common_version").await, 1);
    let reply = house.visitor().post(house.router.address, &MODERN, WHOAMI).await;
    assert_eq!(reply.server(), "one");
}

#[tokio::test]
async fn certificates_are_chosen_by_host() {
    let house = House::new(|authority, dir| {
        let table = |file: &str, names: &[&str]| {
            let files = authority.issue(dir, file, names).settings();
            format!("{{ {} }}", files.trim().replace('\n', ", "))
        };
        let (a, b) = (table("a", &["a.example", "10.1.1.1"]), table("b", &["*.b.example"]));
        format!("others = [{a}, {b}]\n")
    })
    .await;
    let ca = house.dir.path().join("ca.pem");
    let file = |name: &str| house.dir.path().join(format!("{name}.pem"));
    for (host, name) in
        [(HOST, "own"), ("a.example", "a"), ("A.Example", "a"), ("x.b.example", "b")]
    {
        let stream = Visitor::new(&ca, host).connect(house.router.address).await.unwrap();
        let want = CertificateDer::from_pem_file(file(name)).unwrap();
        assert_eq!(shown(&stream), want.to_vec(), "{host}");
    }
    // Nobody has a certificate for these, so the first is shown, and the client does not like it.
    for host in ["b.example", "x.y.b.example", "else.example"] {
        let refused = Visitor::new(&ca, host).refused(house.router.address).await;
        assert!(refused.contains("not valid for name"), "{host}: {refused}");
    }
    eventually("what they told us is counted", async || {
        (house.counted("refused_by_client").await == 3).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sessions_are_resumed() {
    let house = House::plain().await;
    for version in [&TLS12, &TLS13] {
        let ca = house.dir.path().join("ca.pem");
        let visitor = Visitor::with(&ca, HOST, None, &[version]);
        visitor.post(house.router.address, &MODERN, WHOAMI).await;
        for _ in 0..8 {
            let stream = visitor.connect(house.router.address).await.unwrap();
            assert!(is_resumed(&stream), "whichever worker it is");
            let mut connection = Connection::over(stream, house.router.address);
            connection.request("POST", "/mcp", &MODERN, WHOAMI).await;
            assert_eq!(connection.answer().await.server(), "one");
        }
    }
}

#[tokio::test]
async fn clients_have_to_show_a_certificate() {
    let house = House::new(|_, dir| {
        let ca = dir.join("ca.pem").display().to_string();
        let names =
            "client_names = [\"*.agents.example\", \"spiffe://example/agent\", \"10.9.8.7\"]";
        format!("client_ca = \"{ca}\"\n{names}\n")
    })
    .await;
    let (dir, to) = (house.dir.path(), house.router.address);
    let ca = dir.join("ca.pem");
    let issue = |names: &[&str]| house.authority.issue(dir, "client", names);
    for names in [["a.agents.example"], ["spiffe://example/agent"], ["10.9.8.7"]] {
        let files = match names {
            ["spiffe://example/agent"] => house.authority.issue_with(dir, "client", &[], |it| {
                let id = rcgen::string::Ia5String::try_from(names[0]).unwrap();
                it.subject_alt_names = vec![rcgen::SanType::URI(id)];
            }),
            names => issue(&names),
        };
        let reply = Visitor::showing(&ca, HOST, &files).post(to, &MODERN, WHOAMI).await;
        assert_eq!(reply.server(), "one", "{names:?}");
    }
    let old = house.authority.issue_with(dir, "old", &["a.agents.example"], |it| {
        (it.not_before, it.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
    });
    let early = house.authority.issue_with(dir, "early", &["a.agents.example"], |it| {
        (it.not_before, it.not_after) = (date_time_ymd(3000, 1, 1), date_time_ymd(3001, 1, 1));
    });
    let foreign = Authority::new().issue(dir, "foreign", &["a.agents.example"]);
    let other = house.authority.issue(dir, "other", &["agents.example", "x.y.agents.example"]);
    let mut seen = 0;
    for (own, alert, word) in [
        (None, "CertificateRequired", "no_certificate"),
        (Some(&foreign), "UnknownCA", "unknown_ca"),
        (Some(&old), "CertificateExpired", "expired"),
        (Some(&early), "CertificateExpired", "expired"),
        (Some(&other), "AccessDenied", "not_allowed"),
    ] {
        for version in [&TLS13, &TLS12] {
            let visitor = Visitor::with(&ca, HOST, own, &[version]);
            let refused = visitor.refused(to).await;
            // TLS 1.2 has no word for a certificate that is missing (RFC 8446 section 6.2).
            let alert = if own.is_none() && version.version == TLSv1_2 { "" } else { alert };
            assert!(refused.contains(alert), "{word}: {refused}");
            seen += 1;
        }
        assert!(house.counted(word).await >= 2, "{word}");
    }
    assert_eq!(house.counted("expired").await, 4);
    let handshakes = house.router.metric("tidegate_tls_handshakes_total", &[]).await as u64;
    assert_eq!(handshakes, house.counted("ok").await + seen, "and nothing is counted twice");
}

#[tokio::test]
async fn whoever_speaks_no_tls_is_closed_in_time() {
    let house = House::new(|_, _| "[timeouts]\nheader = \"1s\"\n".to_owned()).await;
    let to = house.router.address;
    let mut plain = Connection::open(to).await;
    plain.request("POST", "/mcp", &MODERN, WHOAMI).await;
    let reply = plain.answer().await;
    assert_eq!((reply.status, reply.complete), (400, true));
    assert_eq!(reply.json()["error"]["data"]["reason"], "plain_http_to_tls");
    assert!(plain.closed().await);
    for (sent, word) in [
        (b"SSH-2.0-client\r\n".as_slice(), "plain_http"),
        (&[0; 300], "not_tls"),
        (&[22, 3, 1, 0, 5, 9, 9, 9, 9, 9], "not_tls"),
        (&[22, 3, 1, 2, 0, 1, 0], "timeout"),
        (b"", "timeout"),
    ] {
        let before = house.counted(word).await;
        let mut connection = Connection::open(to).await;
        connection.send(sent).await;
        assert!(connection.closed().await);
        assert_eq!(house.counted(word).await, before + 1, "{sent:?}");
    }
    // A handshake alone is not a request either.
    let mut silent = house.visitor().open(to).await;
    assert!(silent.closed().await);
    assert!(house.server.seen().is_empty());
}

#[tokio::test]
async fn the_listeners_of_metrics_and_alerts() {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
    let ca = authority.file(dir.path());
    let own = authority.issue(dir.path(), "own", &[HOST]).settings();
    let watcher = authority.issue(dir.path(), "watcher", &["prometheus.example"]);
    let client_ca = format!("client_ca = \"{}\"", ca.display());
    let settings = format!(
        "\n[metrics.tls]\n{own}{client_ca}\nclient_names = [\"prometheus.example\"]\n\
         [alerts]\nlisten = \"127.0.0.1:0\"\ntoken = \"0123456789abcdef0123456789abcdef\"\n\
         [alerts.tls]\n{own}"
    );
    let server = Server::mcp("one").await;
    let router = Router::start(&[server.address], &[nobody().await], &settings).await;
    let (bare, known) = (Visitor::new(&ca, HOST), Visitor::showing(&ca, HOST, &watcher));
    let refused = bare.refused(router.metrics).await;
    assert!(refused.contains("CertificateRequired"), "{refused}");
    let status = router.status().await.unwrap();
    let alerts = status["alerts_listen"].as_str().unwrap().parse().unwrap();
    assert_eq!(bare.get(alerts, "/v1/alertmanager", &[]).await.status, 405);
    let scrape = known.get(router.metrics, "/metrics", &[]).await.text();
    for line in [
        "tidegate_tls_handshakes_total{listener=\"metrics\",result=\"no_certificate\"} 1",
        "tidegate_tls_handshakes_total{listener=\"metrics\",result=\"ok\"} 1",
        "tidegate_tls_handshakes_total{listener=\"alerts\",result=\"ok\"} 1",
        "name=\"mcp.example\",used_by=\"metrics\"}",
        "name=\"mcp.example\",used_by=\"alerts\"}",
        "tidegate_tls_files_last_read_successful 1",
    ] {
        assert!(scrape.contains(line), "{line} is not in\n{scrape}");
    }
    let mut plain = Connection::open(router.metrics).await;
    plain.request("GET", "/metrics", &[], "").await;
    assert_eq!(plain.answer().await.status, 400);
    assert_eq!((&status["tls"], &status["metrics_tls"]), (&false.into(), &true.into()));
}

#[tokio::test]
async fn certificates_change_under_load() {
    let house = House::plain().await;
    let (visitor, to) = (house.visitor(), house.router.address);
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for number in 0..6 {
        let (visitor, stop, answered) = (visitor.clone(), Arc::clone(&stop), Arc::clone(&answered));
        clients.spawn(async move {
            let mut kept = visitor.open(to).await;
            while !stop.load(Ordering::Relaxed) {
                if number % 2 == 0 {
                    kept = visitor.open(to).await;
                }
                kept.request("POST", "/mcp", &MODERN, WHOAMI).await;
                assert_eq!(kept.answer().await.server(), "one");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for turn in 0..4 {
        let (before, new) = (answered.load(Ordering::Relaxed), house.renew());
        if turn % 2 == 0 {
            kill(Pid::from_raw(house.router.pid()), Signal::SIGHUP).unwrap();
        }
        house.shows(&new).await;
        let more = || answered.load(Ordering::Relaxed) > before + 20;
        eventually("clients go on", async || more().then_some(())).await;
    }
    stop.store(true, Ordering::Relaxed);
    let ended = clients.join_all().await;
    assert_eq!(ended.len(), 6, "and each of them was answered every time");
    assert!(house.router.log().contains("certificate read again"), "{}", house.router.log());
}

#[tokio::test]
async fn a_broken_certificate_changes_nothing() {
    let house = House::plain().await;
    let first = der(&house.authority.issue(house.dir.path(), "spare", &[HOST]));
    let own = house.dir.path().join("own.pem");
    let before = CertificateDer::from_pem_file(&own).unwrap().to_vec();
    // Of another key.
    std::fs::copy(house.dir.path().join("spare.pem"), &own).unwrap();
    let fault = async || house.router.status().await.unwrap()["certificate_fault"].clone();
    let why =
        eventually("the fault is told", async || fault().await.as_str().map(str::to_owned)).await;
    assert!(why.contains("does not belong to"), "{why}");
    house.shows(&before).await;
    assert!(!house.all_read().await);
    assert!(said(&house.router.cli(&["status"])).contains("NOT TAKEN OVER"));
    // Nor does a reload with it.
    assert!(said(&house.router.cli(&["reload"])).contains("does not belong to"));
    house.shows(&before).await;
    std::fs::copy(house.dir.path().join("spare.key"), house.dir.path().join("own.key")).unwrap();
    house.shows(&first).await;
    eventually("the fault is over", async || fault().await.is_null().then_some(())).await;
    assert!(house.all_read().await);
    let log = house.router.log();
    assert_eq!(log.matches("certificates have changed, but").count(), 1, "{log}");
}

#[tokio::test]
async fn certificates_that_end_soon_are_told() {
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(10 * 86400 + 3600);
    let house = House::new(|authority, dir| {
        let files = authority
            .issue_with(dir, "soon", &["soon.example"], |it| it.not_after = soon.into())
            .settings();
        format!("others = [{{ {} }}]\n", files.trim().replace('\n', ", "))
    })
    .await;
    let status = house.router.status().await.unwrap();
    let all = status["certificates"].as_array().unwrap();
    assert_eq!((&all[0]["used_by"], &all[0]["overdue"]), (&"listen".into(), &false.into()));
    assert_eq!((&all[1]["days_left"], &all[1]["overdue"]), (&10.into(), &true.into()));
    let shown = said(&house.router.cli(&["status"]));
    assert!(shown.contains("listen: soon.example, 10 days left") && shown.contains("RENEW IT"));
    eventually("a warning", async || {
        house.router.log().contains("a certificate ends soon").then_some(())
    })
    .await;
    assert_eq!(house.router.log().matches("a certificate ends soon").count(), 1);
    let name = "tidegate_tls_certificate_not_after_seconds";
    let end = house.router.metric(name, &["name=\"soon.example\""]).await;
    let wanted = soon.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((end - wanted).abs() < 2.0, "{end} {wanted}");
}

/// What testssl finds.
async fn testssl(house: &House) -> Vec<serde_json::Value> {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report.json");
    let to = format!("127.0.0.1:{}", house.router.address.port());
    let output = tokio::process::Command::new("testssl")
        .args(["--quiet", "--warnings", "off", "--color", "0", "--nodns", "none"])
        .args(["--protocols", "--server-defaults", "--server-preference", "--pfs"])
        .args(["--std", "--vulnerable", "--jsonfile"])
        .arg(&report)
        .arg(to)
        .output()
        .await
        .unwrap();
    let said = said(&output);
    let report = std::fs::read_to_string(&report).unwrap_or_else(|error| panic!("{error}: {said}"));
    let findings: Vec<serde_json::Value> = serde_json::from_str(&report).unwrap();
    assert!(findings.len() > 50, "{said}");
    findings
}

/// Only that our authority is our own is no finding.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs tests/run: testssl of the Debian package testssl.sh"]
async fn testssl_finds_nothing() {
    let house = House::plain().await;
    let mut findings = testssl(&house).await;
    // A check of its own that came to nothing is made once more.
    if findings.iter().any(|it| it["severity"] == "WARN") {
        findings = testssl(&house).await;
    }
    // What it says of the certificate of a test, and of the openssl that it uses itself.
    let is_ours =
        |id: &str| ["cert_", "DNS_CAArecord", "engine_problem"].iter().any(|it| id.starts_with(it));
    let bad = findings.iter().filter(|it| {
        let severity = it["severity"].as_str().unwrap();
        ["MEDIUM", "HIGH", "CRITICAL", "WARN", "FATAL"].contains(&severity)
            && !is_ours(it["id"].as_str().unwrap())
    });
    assert_eq!(bad.collect::<Vec<_>>(), Vec::<&serde_json::Value>::new());
}
