//! Every command line of the guide, as it stands, one after the other.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::stage::{Shell, Stage, told};

/// A line, how it ends, and what it says among other things.
const LINES: &[(&str, i32, &str)] = &[
    ("validate-config --profile=production", 0, "valid, with the profile production"),
    ("validate-config --profile=production-secondary", 0, "valid, with the profile production"),
    ("validate-config --profile=staging", 64, "there is `production`"),
    ("health-check --profile=production-primary --timeout=30s", 0, "healthy"),
    ("health-check --profile=production-secondary --timeout=30s", 1, "unreachable"),
    ("health-check --profile=production", 1, "unreachable"),
    ("rollback --profile=production-secondary --version=previous", 2, "name it with --version"),
    ("deploy --profile=production-secondary --version=2.1.0 --validate-first", 0, "deployed 2.1.0"),
    ("health-check --profile=production", 0, "py2 2.1.0"),
    ("validate --profile=production-secondary --comprehensive", 0, "\nfit: "),
    ("validate --profile=production --comprehensive", 0, "\nfit: "),
    ("set-traffic-split --profile=production primary:90 secondary:10", 0, "primary:90"),
    ("set-traffic-split --profile=production-secondary secondary:20", 0, "primary:80"),
    ("set-traffic-split --profile=production primary:90 secondary:20", 64, "100"),
    ("monitor --profile=production-secondary --duration=1s", 0, "nothing would have shut the gate"),
    ("monitor --profile=production --duration=1s", 0, "nothing would have shut the gate"),
    ("export-state --profile=production --output=state.json", 0, "restore-state state.json"),
    ("stop --profile=production-secondary", 1, "tidegate drain secondary --wait"),
    ("deploy --profile=production-secondary --version=2.1.1", 1, "primary:100"),
    ("set-traffic-split primary:100 secondary:0 --profile=production", 0, "primary:100"),
    ("deploy --profile=production-secondary --version=2.1.1", 0, "deployed 2.1.1"),
    ("rollback --profile=production-secondary --version=previous", 0, "2.1.0 on the secondary"),
    ("rollback --profile=production --immediate", 0, "it did already"),
    ("rollback --profile=production-primary --version=previous", 1, "tidegate rollback secondary"),
    ("stop --profile=production-primary", 1, "tidegate rollout start --to secondary"),
    ("stop --profile=production-secondary", 0, "the servers of the secondary are stopped"),
    ("validate --profile=production-secondary --comprehensive", 1, "NOT FIT"),
    ("validate --profile=production --comprehensive", 1, "NOT FIT"),
    ("restore-state state.json --profile=production", 1, "--allow-raise"),
    ("restore-state nothing.json --profile=production", 64, "tidegate export-state --output"),
    ("backups", 2, "--profile"),
    ("backups --profile=production", 0, "before 2.1.1 is deployed to the secondary"),
];

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn every_command_line_of_the_guide_works_as_it_stands() {
    let stage = Stage::set().await;
    for (line, code, words) in LINES {
        stage.shell.expect(line, *code, &[words]).await;
    }
    is_cut_short(&stage.shell, Signal::SIGINT).await;
    is_cut_short(&stage.shell, Signal::SIGTERM).await;
    let bare = stage.shell.command("validate-config --profile=production");
    let said = told(&{ bare }.env_remove("TIDEGATE_CONFIG").output().await.unwrap());
    assert!(said.code == 64 && said.said.contains("TIDEGATE_CONFIG"), "{}", said.said);
}

/// Ten minutes, which nobody waits for.
pub async fn is_cut_short(shell: &Shell, signal: Signal) {
    let mut command = shell.command("monitor --profile=production-secondary --duration=10m");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next_line().await.unwrap().unwrap();
    assert!(first.contains("  left 9m 59s") || first.contains("  left 10m"), "{first}");
    kill(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()), signal).unwrap();
    let told = told(&child.wait_with_output().await.unwrap());
    assert!(told.code == 2 && told.said.contains("ended by a signal"), "{}", told.said);
}
