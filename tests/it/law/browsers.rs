//! Pages in a browser: whose may call, and what a browser is told.

use super::{Answer, Scene};
use crate::support::WHOAMI;

const PAGE: &str = "https://app.example.com";

async fn ask(scene: &Scene, method: &str, lines: &str) -> Answer {
    let body = if method == "POST" { WHOAMI } else { "" };
    let text = format!(
        "{method} /mcp HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n{lines}\r\n{body}",
        body.len()
    );
    scene.send(text.as_bytes()).await.remove(0)
}

fn asks(page: &str, headers: &str) -> String {
    format!(
        "origin: {page}\r\naccess-control-request-method: POST\r\n\
         access-control-request-headers: {headers}\r\n"
    )
}

#[tokio::test]
async fn pages_that_are_not_listed_may_not_call() {
    let scene = Scene::with("").await;
    for (origin, status) in [
        ("http://localhost:5173", 200),
        ("http://127.0.0.1", 200),
        ("https://[::1]:8443", 200),
        ("http://evil.example", 403),
        ("http://a", 403),
        ("null", 403),
        ("", 403),
    ] {
        for method in ["POST", "GET", "DELETE", "OPTIONS"] {
            let answer = ask(&scene, method, &format!("origin: {origin}\r\n")).await;
            assert_eq!(answer.status, status, "{method} {origin}");
            let sent = scene.server.take();
            if status == 200 {
                assert!(sent.contains(&format!("\r\norigin: {origin}\r\n")), "{sent}");
            } else {
                assert_eq!((answer.reason().as_str(), sent.as_str()), ("origin_not_allowed", ""));
                assert!(answer.body.contains("http.origins"), "{}", answer.body);
            }
        }
    }
    let any = Scene::with("[http]\norigins = [\"any\"]").await;
    assert_eq!(ask(&any, "POST", "origin: null\r\n").await.status, 200);
    let none =
        Scene::with("public_origin = \"https://mcp.example.com\"\n[http]\norigins = []").await;
    assert_eq!(ask(&none, "POST", "origin: http://localhost\r\n").await.status, 403);
    assert_eq!(ask(&none, "POST", "origin: https://mcp.example.com\r\n").await.status, 200);
    assert_eq!(ask(&none, "POST", "").await.status, 200, "no browser");
}

#[tokio::test]
async fn servers_answer_browsers_unless_the_router_shall() {
    let scene = Scene::with("").await;
    let answer = ask(&scene, "OPTIONS", &asks("http://localhost", "x")).await;
    assert_eq!((answer.status, answer.all("access-control-allow-origin")), (200, vec!["*"]));
    assert_eq!(answer.all("access-control-made-up"), ["x"]);
    assert!(scene.server.take().starts_with("OPTIONS /mcp"));
    assert_eq!(answer.all("vary"), [""; 0]);
}

#[tokio::test]
async fn the_router_answers_browsers() {
    let settings = format!("[http]\ncors = \"router\"\norigins = [\"{PAGE}\"]");
    let scene = Scene::with(&settings).await;
    let wanted = "authorization, content-type,mcp-param-region";
    let answer = ask(&scene, "OPTIONS", &asks(PAGE, wanted)).await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    for (name, value) in [
        ("access-control-allow-origin", PAGE),
        ("access-control-allow-methods", "get, post, delete, options"),
        ("access-control-allow-headers", wanted),
        ("access-control-max-age", "600"),
    ] {
        assert_eq!(answer.all(name), [value], "{name}");
    }
    let varies = ["origin", "access-control-request-method", "access-control-request-headers"];
    assert_eq!(answer.all("vary"), varies);
    let odd = ask(&scene, "OPTIONS", &asks(PAGE, "a b, \"c\"")).await;
    assert_eq!((odd.status, odd.all("access-control-allow-headers").len()), (204, 0));
    assert_eq!(ask(&scene, "OPTIONS", &asks("https://b.example", "x")).await.status, 403);
    assert_eq!(scene.server.take(), "", "no server is asked");
    let counted = scene.router.metric("tidegate_exchanges_total", &[]).await;

    // Every answer can be read by the page, also one of our own; the server's word does not count.
    let exposed = "mcp-session-id, www-authenticate, last-event-id, mcp-protocol-version";
    for (method, lines, status) in [("POST", "", 200), ("PUT", "", 405), ("OPTIONS", "", 200)] {
        let answer = ask(&scene, method, &format!("origin: {PAGE}\r\n{lines}")).await;
        assert_eq!(answer.status, status, "{method}");
        assert_eq!(answer.all("access-control-allow-origin"), [PAGE]);
        assert_eq!(answer.all("access-control-expose-headers"), [exposed]);
        assert_eq!(
            (answer.all("access-control-made-up").len(), answer.all("vary")),
            (0, vec!["origin"])
        );
    }
    for lines in ["", "origin: https://b.example\r\n"] {
        let answer = ask(&scene, "POST", lines).await;
        assert_eq!(answer.all("access-control-allow-origin"), [""; 0]);
        assert_eq!(answer.all("vary"), ["origin"]);
    }
    assert!(counted < 0.5 || counted.is_nan(), "refused pages alone: {counted}");
}
