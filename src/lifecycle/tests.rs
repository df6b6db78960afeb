//! Commands as operators write them, good and bad. Where a test waits for a limit, time is paused,
//! and passes as soon as nothing else happens.

use std::future::pending;

use super::*;

fn sh(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

async fn run_for(limit: Duration, script: &str) -> Ended {
    let words = sh(script);
    let (arm, version) = (Arm::Secondary, Some("2.1.0"));
    let call = Call { words: &words, arm, version, profile: None, limit };
    run(&call, pending()).await.unwrap()
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_command_knows_what_it_is_for() {
    let ended = run_for(
        MINUTE,
        "echo \"$TIDEGATE_ARM $TIDEGATE_VERSION [${TIDEGATE_PROFILE-unset}]\"; cat; echo oh >&2; exit 3",
    )
    .await;
    assert_eq!((ended.how, ended.is_held), (How::Exited(3), false));
    assert_eq!(ended.output.first_line().as_deref(), Some("secondary 2.1.0 []"));
    assert!(ended.output.tail().contains("oh\n"), "{:?}", ended.output);
    let ended = run_for(MINUTE, "kill -9 $$").await;
    assert_eq!(ended.how, How::Signalled(9));
    let nothing = ["/nowhere/at/all".to_owned()];
    let call =
        Call { words: &nothing, arm: Arm::Primary, version: None, profile: None, limit: MINUTE };
    let error = run(&call, pending()).await.unwrap_err().to_string();
    assert!(error.contains("cannot run /nowhere/at/all"), "{error}");
}

#[tokio::test]
async fn of_megabytes_the_end_is_kept() {
    let ended = run_for(MINUTE, "echo first; yes 0123456 | head -c 8000000; echo last").await;
    assert!(ended.how.is_good());
    assert_eq!(ended.output.tail().len(), 64 * 1024);
    assert!(ended.output.tail().ends_with("0123456\nlast\n"));
    assert_eq!(ended.output.first_line().as_deref(), Some("first"));
    assert_eq!(ended.output.left_out(), 8_000_011 - 64 * 1024);
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_is_ended_with_all_that_it_started() {
    // The shell and its child ignore what they are asked; both are killed.
    let ended = run_for(MINUTE, "trap '' TERM; sleep 1000 & echo $!; wait; sleep 1000").await;
    assert_eq!(ended.how, How::TimedOut(MINUTE));
    let words = sh("sleep 1000");
    let call =
        Call { words: &words, arm: Arm::Primary, version: None, profile: None, limit: MINUTE };
    let ended = run(&call, sleep(Duration::from_secs(1))).await.unwrap();
    assert_eq!(ended.how, How::Interrupted);
}

#[tokio::test]
async fn what_a_start_script_leaves_running_is_left_alone() {
    let ended = run_for(MINUTE, "sleep 1000 & echo $!").await;
    assert!(ended.how.is_good() && ended.is_held && ended.took < MINUTE / 2, "{ended:?}");
    let left = ended.output.first_line().unwrap().parse().map(Pid::from_raw).unwrap();
    nix::sys::signal::kill(left, Signal::SIGKILL).expect("it is still there");
}
