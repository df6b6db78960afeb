//! The plot against a stand-in for the router: a byte pipe that draws an arm for each connection,
//! which is enough, because each of the demo's sessions has a connection of its own.

use std::cell::Cell;
use std::rc::Rc;

use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;

use super::*;

fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn stage(router: &TcpListener, seconds_per_phase: u32) -> Stage {
    Stage {
        router: router.local_addr().unwrap(),
        servers: PerArm::from_fn(|_| bind(local(), "--port").unwrap()),
        metrics: None,
        program: "tidegate".to_owned(),
        admin_socket: None,
        seconds_per_phase,
        once: true,
        look: Look::default(),
    }
}

/// Sends each connection to the arm that the split gives for an evenly moving point.
async fn pipe(router: TcpListener, servers: PerArm<SocketAddr>, split: Rc<Cell<Split>>) {
    let mut pipes = tokio::task::JoinSet::new();
    let mut point: f64 = 0.5;
    loop {
        let (mut client, _) = router.accept().await.unwrap();
        point = (point + 0.618).fract();
        let on_secondary = point * 100.0 < f64::from(split.get().weight(Arm::Secondary));
        let server = *servers.get(if on_secondary { Arm::Secondary } else { Arm::Primary });
        pipes.spawn(async move {
            let mut server = TcpStream::connect(server).await.unwrap();
            copy_bidirectional(&mut client, &mut server).await
        });
    }
}

/// A router that takes every split, and whose gate shuts at the second look.
struct Stand {
    split: Rc<Cell<Split>>,
    looks: Cell<u32>,
    refuses: bool,
}

impl Stand {
    fn new(split: &Rc<Cell<Split>>) -> Stand {
        Stand { split: Rc::clone(split), looks: Cell::new(0), refuses: false }
    }
}

impl Router for Stand {
    fn set_split(&self, split: Split) -> Result<(), String> {
        self.split.set(split);
        if self.refuses { Err("a rollout is running".to_owned()) } else { Ok(()) }
    }

    fn start_rollout(&self) -> Result<(), String> {
        self.split.set(percent_to_secondary(ROLLOUT));
        Ok(())
    }

    fn reverted(&self) -> Option<String> {
        self.looks.set(self.looks.get() + 1);
        (self.looks.get() == 2).then(|| {
            self.split.set(Split::PRIMARY_ONLY);
            "it was worse".to_owned()
        })
    }
}

#[tokio::test]
async fn the_whole_plot_shows_the_split_it_asked_for() {
    let router = bind(local(), "--port").unwrap();
    let stage = stage(&router, 1);
    let servers = places(&stage).unwrap().servers;
    let split = Rc::new(Cell::new(Split::PRIMARY_ONLY));
    let stand = Stand::new(&split);
    let mut out = Vec::new();
    let summary = tokio::select! {
        summary = run(stage, &mut out, &stand, pending()) => summary.unwrap(),
        () = pipe(router, servers, split.clone()) => unreachable!("it pipes for ever"),
    };
    let text = String::from_utf8(out).unwrap();
    assert!(summary.is_good(), "{text}");
    assert_eq!(summary.phases.len(), 5);
    assert_eq!(summary.reverted.as_deref(), Some("it was worse"));
    assert_eq!(summary.phases[4].sessions.secondary, 0, "{text}");
    let [first, _, last] = [0, 1, 2].map(|phase: usize| &summary.phases[phase].sessions);
    assert!(first.primary > first.secondary, "{text}");
    assert!(last.primary == 0 && last.secondary > 0, "{text}");
    assert!(text.contains("sessions that changed version   0 of"), "{text}");
}

#[tokio::test]
async fn stop_ends_it_with_what_was_seen() {
    let router = bind(local(), "--port").unwrap();
    let mut out = Vec::new();
    let stand = Stand::new(&Rc::new(Cell::new(Split::PRIMARY_ONLY)));
    let summary = run(stage(&router, 1), &mut out, &stand, async {}).await.unwrap();
    assert!(summary.phases.is_empty() && summary.is_good());
    assert!(String::from_utf8(out).unwrap().contains("What was asked"));
}

#[tokio::test]
async fn a_refused_split_ends_it() {
    let router = bind(local(), "--port").unwrap();
    let stage = stage(&router, 1);
    let servers = places(&stage).unwrap().servers;
    let mut out = Vec::new();
    let split = Rc::new(Cell::new(Split::PRIMARY_ONLY));
    let stand = Stand { refuses: true, ..Stand::new(&split) };
    tokio::select! {
        ended = run(stage, &mut out, &stand, pending()) => {
            let error = ended.unwrap_err().to_string();
            assert!(error.contains("primary:90 secondary:10: a rollout is running"), "{error}");
        }
        () = pipe(router, servers, split) => unreachable!("it pipes for ever"),
    }
}

#[tokio::test]
async fn a_taken_port_is_one_sentence() {
    let holder = bind(local(), "--port").unwrap();
    let addr = holder.local_addr().unwrap();
    let error = bind(addr, "--primary-port").unwrap_err();
    assert_eq!(
        error,
        format!(
            "port {} is taken (another server?): stop it, or choose another with --primary-port",
            addr.port()
        )
    );
}
