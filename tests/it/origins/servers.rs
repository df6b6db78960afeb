//! The servers: each writes down what it understood, or hands it to a recorder that does.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::{NamedTempFile, TempDir};

use crate::support::real::NODE;
use crate::support::server::answer;
use crate::support::{Process, Seen, Server, Step, nobody};

/// Python with the servers that `tests/origins/install` has put there.
const PYTHON: &str = "target/origins/python/bin/python";

/// A server, and what it has understood.
pub struct Origin {
    pub name: &'static str,
    pub address: SocketAddr,
    notes: Notes,
    _process: Option<Process>,
    /// Of the process.
    _folder: Option<TempDir>,
}

enum Notes {
    /// Lines of JSON in a file.
    File(NamedTempFile),
    /// A server of the test's, behind a hop or alone.
    Recorder(Server),
}

impl Origin {
    /// All of them; the first is the test's own server alone.
    pub async fn all() -> [Origin; 7] {
        let uvicorn = |parser: &'static str| {
            let words = "-m uvicorn --app-dir tests/origins app:app --lifespan off --log-level error \
                         --h11-max-incomplete-event-size 65536 --port PORT --http";
            format!("{PYTHON} {words} {parser}")
        };
        let hypercorn = format!(
            "{PYTHON} -m hypercorn --workers 0 --bind 127.0.0.1:PORT \
             --config tests/origins/hypercorn.toml tests/origins/app:app"
        );
        [
            Origin::recorder().await,
            Origin::hop("nginx", "nginx.conf", "nginx -c").await,
            Origin::hop("haproxy", "haproxy.cfg", "haproxy -db -q -f").await,
            Origin::program("uvicorn with h11", &uvicorn("h11")).await,
            Origin::program("uvicorn with httptools", &uvicorn("httptools")).await,
            Origin::program("hypercorn", &hypercorn).await,
            Origin::program("node", &format!("{NODE} tests/origins/server.mjs PORT")).await,
        ]
    }

    async fn recorder() -> Origin {
        let server = Server::scripted(|seen| vec![Step::Send(echo(seen))]).await;
        let address = server.address;
        Origin {
            name: "recorder",
            address,
            notes: Notes::Recorder(server),
            _process: None,
            _folder: None,
        }
    }

    /// A proxy in front of a recorder, configured by a file of `tests/origins`.
    async fn hop(name: &'static str, file: &str, command: &str) -> Origin {
        let Origin { address: recorder, notes, .. } = Origin::recorder().await;
        let (address, folder) = (nobody().await, TempDir::new().unwrap());
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/origins");
        let config = std::fs::read_to_string(here.join(file))
            .unwrap()
            .replace("FOLDER", folder.path().to_str().unwrap())
            .replace("PORT", &address.port().to_string())
            .replace("RECORDER", &recorder.to_string());
        let path = folder.path().join(file);
        std::fs::write(&path, config).unwrap();
        let command = format!("{command} {}", path.display());
        let process = started(&command, &[], address).await;
        Origin { name, address, notes, _process: Some(process), _folder: Some(folder) }
    }

    /// A program that writes to the file that `SEEN` names.
    async fn program(name: &'static str, command: &str) -> Origin {
        let (address, file) = (nobody().await, NamedTempFile::new().unwrap());
        let seen = file.path().display().to_string();
        let command = command.replace("PORT", &address.port().to_string());
        let process = started(&command, &[("SEEN".to_owned(), seen)], address).await;
        Origin { name, address, notes: Notes::File(file), _process: Some(process), _folder: None }
    }

    /// What it has understood so far.
    pub fn seen(&self) -> Vec<Seen> {
        match &self.notes {
            Notes::Recorder(server) => server.seen(),
            Notes::File(file) => {
                let text = std::fs::read_to_string(file.path()).unwrap();
                text.lines().map(line).collect()
            }
        }
    }
}

async fn started(command: &str, environment: &[(String, String)], at: SocketAddr) -> Process {
    let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    let mut process = Process::start(&words, environment);
    process.accepts(at).await;
    process
}

fn line(text: &str) -> Seen {
    #[derive(serde::Deserialize)]
    struct Line {
        method: String,
        target: String,
        headers: Vec<(String, String)>,
        body: String,
    }
    let Line { method, target, headers, body } = serde_json::from_str(text).unwrap();
    Seen { method, target, headers, body, connection: 0, client: None }
}

/// The answer of every origin: what was asked.
fn echo(seen: &Seen) -> String {
    let Seen { method, target, body, .. } = seen;
    if method == "HEAD" {
        return "HTTP/1.1 204 None\r\nx-origin: recorder\r\n\r\n".to_owned();
    }
    answer(200, &[("x-origin", "recorder")], &format!("{method} {target} {body}"))
}
