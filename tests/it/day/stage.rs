//! A stranger's folder: a configuration by `init`, real servers that a service starts and stops,
//! the router in front of them, and somebody who is told.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::router::PROGRAM;
use crate::support::server::answer;
use crate::support::{Router, Server, Step, nobody, within};

/// The arms, and where each has its servers.
const ARMS: [&str; 2] = ["primary", "secondary"];

/// The line that starts the router; its other arguments are not for it.
const RUN: [&str; 5] =
    ["env", "TIDEGATE_CONFIG=tidegate.toml", "sh", "-c", "exec \"$0\" run --profile=production"];

/// Where somebody types.
#[derive(Clone)]
pub struct Shell {
    dir: PathBuf,
}

/// What a line has led to.
pub struct Told {
    pub code: i32,
    pub said: String,
}

impl Shell {
    /// A line of the command line, without the program's name.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(line.split(' ')).current_dir(&self.dir).kill_on_drop(true);
        command.env_clear().env("TIDEGATE_CONFIG", self.file("tidegate.toml"));
        command.stdin(Stdio::null());
        command
    }

    pub async fn types(&self, line: &str) -> Told {
        told(&self.command(line).output().await.unwrap())
    }

    /// That a line ends so, with these words; gives all that it says.
    pub async fn expect(&self, line: &str, code: i32, words: &[&str]) -> String {
        let told = self.types(line).await;
        let all = format!("tidegate {line}: {} and not {code}\n{}", told.code, told.said);
        assert_eq!(told.code, code, "{all}");
        for words in words {
            assert!(told.said.contains(words), "without `{words}`: {all}");
        }
        told.said
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// What a process has left.
pub fn told(output: &Output) -> Told {
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    Told { code: output.status.code().unwrap_or(-1), said: String::from_utf8(said).unwrap() }
}

/// The servers of both arms; stopped when it is dropped.
struct Services {
    folder: TempDir,
    servers: [SocketAddr; 2],
}

impl Services {
    /// The words that start, stop or name what an arm runs.
    fn words(&self, verb: &str, at: SocketAddr) -> [String; 4] {
        let service = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/service");
        let folder = self.folder.path().display().to_string();
        [service.display().to_string(), verb.to_owned(), folder, at.port().to_string()]
    }

    /// The sections of the arms.
    fn sections(&self) -> String {
        let arms = ARMS.iter().zip(self.servers).map(|(arm, at)| {
            let command = |verb| format!("{verb} = {:?}\n", self.words(verb, at));
            let commands: String = ["start", "stop", "version"].map(command).concat();
            let arm = format!("profiles.production.{arm}");
            format!("[{arm}]\nendpoints = ['http://{at}/mcp']\n[{arm}.lifecycle]\n{commands}")
        });
        arms.collect()
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for (arm, at) in ARMS.iter().zip(self.servers) {
            let words = self.words("stop", at);
            let mut command = std::process::Command::new(&words[0]);
            // There is nobody to tell.
            let _ = command.args(&words[1..]).env("TIDEGATE_ARM", arm).status();
        }
    }
}

/// All of it.
pub struct Stage {
    services: Services,
    pub shell: Shell,
    pub router: Router,
    /// Who is told.
    pub receiver: Server,
}

impl Stage {
    /// From an empty folder to a router at 100:0, version 2.0.0 behind it, and nothing on the
    /// secondary.
    pub async fn set() -> Stage {
        let dir = TempDir::new().unwrap();
        let shell = Shell { dir: dir.path().to_owned() };
        shell.expect("init", 0, &["wrote tidegate.toml", "TIDEGATE_CONFIG"]).await;
        shell.expect("validate-config", 0, &["tidegate.toml: valid"]).await;
        let servers = [nobody().await, nobody().await];
        let services = Services { folder: TempDir::new().unwrap(), servers };
        let receiver =
            Server::scripted(|_| vec![Step::Send(answer(200, &[], "")), Step::Close]).await;
        let mut file = OpenOptions::new().append(true).open(shell.file("tidegate.toml")).unwrap();
        let more = overlay(&shell, &services, receiver.address);
        file.write_all(more.as_bytes()).unwrap();
        let valid = "tidegate.toml: valid, with the profile production";
        shell.expect("validate-config --profile=production", 0, &[valid]).await;
        let stage = async |services: &Services| {
            let words = services.words("start", servers[0]);
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            command.env("TIDEGATE_ARM", ARMS[0]).env("TIDEGATE_VERSION", "2.0.0");
            assert!(command.status().await.unwrap().success());
            let listens = async || TcpStream::connect(servers[0]).await.ok();
            within(60, "the primary listens", listens).await;
        };
        std::fs::write(services.folder.path().join("sick"), "").unwrap();
        stage(&services).await;
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let router = Router::spawn_under(&RUN, dir, log.into()).await;
        Stage { services, shell, router, receiver }
    }

    /// What version 2.2.0 suffers from, from now on.
    pub fn sicken(&self, what: &str) {
        std::fs::write(self.services.folder.path().join("sick"), what).unwrap();
    }

    /// The version that an arm was started with.
    pub fn runs(&self, arm: &str) -> String {
        let file = self.services.folder.path().join(format!("{arm}.version"));
        std::fs::read_to_string(file).unwrap().trim().to_owned()
    }

    /// Waits until the receiver has been told this, for the last time; gives the message.
    pub async fn hears(&self, notice: &str) -> Value {
        within(20, &format!("word of `{notice}`"), async || {
            let seen = self.receiver.seen();
            let bodies = seen.iter().rev().filter_map(|seen| serde_json::from_str(&seen.body).ok());
            { bodies }.find(|body: &Value| body["notice"] == notice)
        })
        .await
    }
}

/// What a person adds to the file that `init` has written.
fn overlay(shell: &Shell, services: &Services, receiver: SocketAddr) -> String {
    let (socket, arms) = (shell.file("admin.sock"), services.sections());
    let socket = socket.display();
    format!(
        "\n[profiles.production]\nlisten = '127.0.0.1:0'\nstate_dir = 'state'\n\
         [profiles.production.admin]\nsocket = '{socket}'\n\
         [profiles.production.metrics]\nlisten = '127.0.0.1:0'\n{arms}{REST}\
         [[profiles.production.notify.webhooks]]\nname = 'ops'\nurl = 'http://{receiver}/'\n"
    )
}

/// Times are short, and a machine that has more to do now than a moment ago is no reason to revert.
const REST: &str = "
[profiles.production.health]
interval = '1s'
healthy_after = 1
slow_start = 'off'
expected_tools = ['echo', 'whoami', 'work']
[[profiles.production.health.calls]]
tool = 'echo'
arguments = { text = 'the tide' }
expect = { text_contains = 'tide' }
[profiles.production.guards.performance]
below = '10%'
[profiles.production.rollout]
steps = [{ weight = 50, hold = '2s' }, { weight = 100, hold = '2s' }]
confirm = 'manual'
[profiles.production.validation]
sla = '5s'
stability = '2s'
performance = '10%'
[[profiles.production.validation.bad_arguments]]
tool = 'echo'
arguments = { text = 5 }
";
