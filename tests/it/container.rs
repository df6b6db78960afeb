//! The image at work, as strictly as a container can be run: as nobody in particular, without
//! capabilities, on a root that nobody can write to, as process 1; and the health check alone.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::admin::client::ask;
use tokio::sync::Notify;

use crate::support::server::answer;
use crate::support::{
    INITIALIZE, MODERN, Router, Seen, Server, Step, WHOAMI, eventually, nobody, post, said,
};

/// The user of the image.
const USER: u32 = 65532;

/// Makes the root of a container what Docker makes of it, and starts a program in it.
const START: &str = r#"
set -e
root=$1 outside=$2
shift 2
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount --bind "$outside/hosts" "$root/etc/hosts"
mount --bind "$outside/run" "$root/run/tidegate"
mount --bind "$outside/state" "$root/var/lib/tidegate"
[ ! -e "$outside/etc" ] || mount --bind "$outside/etc" "$root/etc/tidegate"
exec setpriv --no-new-privs chroot --userspec=65532:65532 "$root" "$@"
"#;

fn output(command: &mut Command) -> String {
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Asks the tool that has built the image, where that lies.
fn buildah(words: &[&str]) -> String {
    let store = ["--root", "target/container/storage", "--runroot", "target/container/run"];
    output(Command::new("buildah").args(["--storage-driver", "vfs"]).args(store).args(words))
}

/// An image, a container of it that does not run yet, and what is mounted into that.
struct Container {
    /// What the image says about itself.
    says: Value,
    root: PathBuf,
    outside: TempDir,
}

impl Container {
    /// A container of the image around the released program.
    fn new() -> Container {
        let image = output(&mut Command::new(".ci/image"));
        let inspected = buildah(&["inspect", "--type", "image", &image]);
        let inspected: Value = serde_json::from_str(&inspected).unwrap();
        let name = buildah(&["from", &image]);
        let root = PathBuf::from(buildah(&["mount", &name]));
        let outside = TempDir::new().unwrap();
        std::fs::write(outside.path().join("hosts"), "127.0.0.1 primary\n").unwrap();
        for folder in ["run", "state"] {
            std::fs::create_dir(outside.path().join(folder)).unwrap();
            chown(outside.path().join(folder), Some(USER), Some(USER)).unwrap();
        }
        // Others have to get through.
        std::fs::create_dir(root.join("proc")).unwrap();
        std::fs::write(root.join("etc/hosts"), "").unwrap();
        Container { says: inspected["Docker"]["config"].clone(), root, outside }
    }

    /// Words that the image has for something.
    fn words(&self, key: &str) -> Vec<String> {
        serde_json::from_value(self.says.pointer(key).unwrap().clone()).unwrap()
    }

    /// A program in a container of its own, with what the image sets.
    fn program(&self, words: &[String]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", START, "start"]);
        command.args([&self.root, self.outside.path()]).args(words).env_clear();
        command.envs(self.words("/Env").iter().map(|it| it.split_once('=').unwrap()));
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// A command of the program.
    fn tidegate(&self, words: &[&str]) -> Output {
        let words = words.iter().map(|word| (*word).to_owned());
        let all: Vec<_> = self.words("/Entrypoint").into_iter().chain(words).collect();
        self.program(&all).output().unwrap()
    }

    /// What the container's health check says, and how it ends.
    fn health(&self) -> (Option<i32>, String) {
        let test = self.words("/Healthcheck/Test");
        assert_eq!(test[0], "CMD", "there is no shell");
        let output = self.program(&test[1..]).output().unwrap();
        (output.status.code(), said(&output))
    }

    /// Starts it; the process that waits for its first one.
    fn start(&self) -> Child {
        let words = [self.words("/Entrypoint"), self.words("/Cmd")].concat();
        let log = std::fs::File::create(self.outside.path().join("log")).unwrap();
        self.program(&words).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.outside.path().join("log")).unwrap()
    }
}

/// The values of lines of `/proc/PID/status`.
fn facts<const N: usize>(pid: Pid, names: [&str; N]) -> [String; N] {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().last().unwrap().to_owned()
    };
    names.map(value)
}

fn first_child(of: &Child) -> Option<Pid> {
    let children = format!("/proc/{0}/task/{0}/children", of.id());
    let first = std::fs::read_to_string(children).unwrap().split_whitespace().next()?.parse().ok();
    first.map(Pid::from_raw)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs tests/run: buildah, and root"]
async fn the_image_serves_and_stops() {
    let container = Container::new();
    assert_eq!(container.says["User"], "65532:65532");
    let version = format!("tidegate {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(said(&container.tidegate(&["--version"])).trim(), version);
    let checked = container.tidegate(&["validate-config"]);
    assert!(checked.status.success(), "{}", said(&checked));
    assert_eq!(container.health().0, Some(1), "nothing runs");

    let one = Server::mcp("one").await;
    let config = format!(
        "listen = \"127.0.0.1:0\"\n[metrics]\nlisten = \"off\"\n[health]\ninterval = \"off\"\n\
         [primary]\nendpoints = [\"http://primary:{}/mcp\"]\n",
        one.address.port()
    );
    std::fs::create_dir(container.outside.path().join("etc")).unwrap();
    std::fs::write(container.outside.path().join("etc/tidegate.toml"), config).unwrap();
    let mut running = container.start();
    let socket = container.outside.path().join("run/admin.sock");
    let status = eventually("the container answers", async || {
        ask::<Value>(&socket, http::Method::GET, "/v1/status", &json!({})).await.ok()
    })
    .await;
    let address = status["listen"][0].as_str().unwrap().parse().unwrap();
    assert_eq!(post(address, &[], INITIALIZE).await.status, 200, "{}", container.log());
    assert_eq!(one.last().rpc(), "initialize");
    assert_eq!(container.health(), (Some(0), "ready\n".to_owned()));
    let seen = container.tidegate(&["status"]);
    assert!(said(&seen).contains("pid 1\n"), "{}", said(&seen));

    let pid = first_child(&running).unwrap();
    let none = "0000000000000000";
    let confined = facts(pid, ["Uid:", "Gid:", "NoNewPrivs:", "CapEff:", "CapPrm:", "Groups:"]);
    assert_eq!(confined, ["65532", "65532", "1", none, none, "65532"]);
    assert!(container.outside.path().join("state/session.key").exists());
    kill(pid, Signal::SIGTERM).unwrap();
    let ended = eventually("it ends", || {
        let ended = running.try_wait().unwrap();
        async move { ended }
    });
    let code = ended.await.code();
    assert_eq!(code, Some(0), "{}", container.log());
    let (code, why) = container.health();
    assert_eq!(code, Some(1), "{why}");
    assert!(why.contains("no tidegate answers on /run/tidegate/admin.sock"), "{why}");
    assert!(!Path::new(&container.root).join("bin").exists(), "no shell");
}

#[tokio::test]
async fn the_health_check_says_yes_or_no() {
    let goes_on = Arc::new(Notify::new());
    let wait = Arc::clone(&goes_on);
    let result = answer(200, &[], r#"{"jsonrpc":"2.0","id":7,"result":{}}"#);
    let script = move |_: &Seen| vec![Step::Wait(Arc::clone(&wait)), Step::Send(result.clone())];
    let server = Server::scripted(script).await;
    let mut router = Router::start(&[server.address], &[nobody().await], "").await;
    let ready = |router: &Router, words: &[&str]| {
        let output = router.cli(&[&["status", "--ready"], words].concat());
        (output.status.code(), said(&output))
    };
    assert_eq!(ready(&router, &[]), (Some(0), "ready\n".to_owned()));
    assert_eq!(ready(&router, &["--json"]), (Some(0), "{\n  \"ready\": true\n}\n".to_owned()));
    assert_eq!(ready(&router, &["--watch"]).0, Some(64));

    let call = tokio::spawn(post(router.address, &MODERN, WHOAMI));
    eventually("the call is there", async || (!server.seen().is_empty()).then_some(())).await;
    kill(Pid::from_raw(router.pid()), Signal::SIGTERM).unwrap();
    let (code, why) = eventually("it stops", async || {
        Some(ready(&router, &[])).filter(|(code, _)| *code != Some(0))
    })
    .await;
    assert_eq!(code, Some(1));
    assert!(why.starts_with("not ready: "), "{why}");
    goes_on.notify_one();
    assert_eq!(call.await.unwrap().status, 200);
    assert_eq!(router.ended().await, 0);
    let (code, why) = ready(&router, &[]);
    assert_eq!(code, Some(1), "Docker keeps 2 for itself");
    assert!(why.contains("is it running?"), "{why}");
}
