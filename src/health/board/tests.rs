//! Probers at work against a small server on this machine.

use std::cell::Cell;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use super::super::state::Standing;
use super::*;
use crate::config::Config;
use crate::names::Arm;
use crate::route::tests as fixture;

/// A modern server without tools, that says 500 while it is broken; the answer is its URL.
async fn server(broken: Rc<Cell<bool>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::task::spawn_local(async move {
        loop {
            let mut stream = listener.accept().await.unwrap().0;
            let mut request = Vec::new();
            // Head and body may come apart; the body ends with the last brace.
            while !request.ends_with(b"}") && stream.read_buf(&mut request).await.unwrap() > 0 {}
            let body = r#"{"jsonrpc":"2.0","id":"hc-1","result":{"supportedVersions":["2026-07-28"],"capabilities":{}}}"#;
            let status = if broken.get() { 500 } else { 200 };
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + body).as_bytes()).await;
        }
    });
    url
}

fn table(url: &str, interval: Duration) -> Arc<RoutingTable> {
    fixture::table(&[url], &["http://127.0.0.1:9/mcp"], 50, |config: &mut Config| {
        config.health.interval = Some(interval);
        // A second era costs one more request, which this server does not answer well.
        config.health.protocol = crate::config::Protocol::Modern;
    })
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), what).await.expect("within 10 s")
}

/// Waits until an arm's endpoint stands so.
async fn stands(board: &Board, table: &RoutingTable, arm: Arm, standing: Standing) -> View {
    let id = table.arms.get(arm).endpoints[0].id;
    within(async {
        loop {
            match board.view(id) {
                Some(view) if view.state.standing() == standing => return view,
                _ => board.news().await,
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_board_follows_its_endpoints() {
    let test = async {
        let broken = Rc::new(Cell::new(false));
        let table = table(&server(Rc::clone(&broken)).await, Duration::from_millis(20));
        let board = Board::new();
        board.sync(&table);
        let fitness =
            |arm: Arm| board.fitness(Instant::now())[&table.arms.get(arm).endpoints[0].id];
        stands(&board, &table, Arm::Primary, Standing::Up).await;
        let view = stands(&board, &table, Arm::Secondary, Standing::Down).await;
        assert_eq!(view.last.unwrap().verdict.label(), "unreachable");
        assert!(fitness(Arm::Primary) >= 1.0 && fitness(Arm::Secondary) <= 0.0);
        broken.set(true);
        let view = stands(&board, &table, Arm::Primary, Standing::Down).await;
        assert_eq!(view.last.unwrap().verdict.label(), "server_error");
        broken.set(false);
        stands(&board, &table, Arm::Primary, Standing::Up).await;
        assert!((0.1..0.5).contains(&fitness(Arm::Primary)));
        // What is known outlives other settings, but not the endpoint.
        let mut other = Config::clone(&table.config);
        other.health.expected_tools = vec!["x".to_owned()];
        let (keys, salt) = (Arc::clone(&table.keys), Arc::clone(&table.salt));
        let next = table.with_config(Arc::new(other.clone()), table.course(), keys, salt);
        board.sync(&next);
        assert!((0.1..0.5).contains(&fitness(Arm::Primary)));
        let view = stands(&board, &next, Arm::Primary, Standing::Down).await;
        assert_eq!(view.last.unwrap().verdict.label(), "missing_tools");
        other.health.interval = None;
        let (keys, salt) = (Arc::clone(&table.keys), Arc::clone(&table.salt));
        board.sync(&table.with_config(Arc::new(other), table.course(), keys, salt));
        within(board.news()).await;
        assert!(board.fitness(Instant::now()).is_empty());
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn faults_of_real_traffic_bring_the_next_handshake_forward() {
    let test = async {
        let broken = Rc::new(Cell::new(false));
        let table = table(&server(Rc::clone(&broken)).await, Duration::from_secs(3600));
        let board = Board::new();
        board.sync(&table);
        stands(&board, &table, Arm::Primary, Standing::Up).await;
        broken.set(true);
        for _ in 0..3 {
            table.arms.primary.endpoints[0].note_fault(3);
        }
        // Three handshakes, not one: a suspicion lasts until it is settled.
        stands(&board, &table, Arm::Primary, Standing::Down).await;
    };
    LocalSet::new().run_until(test).await;
}
