//! The conformance suites give the same verdicts through the router as without it, check by check.

use crate::support::Process;
use crate::support::real::Stand;

/// Seconds for a whole suite, run twice; a scenario that hangs is cut by the suite itself.
const SUITE: u32 = 600;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Two servers of a suite and the router, at 50:50.
async fn stand(suite: &str) -> Stand {
    let serve = words(&["tests/conformance/serve", suite, "0"]);
    let (mut one, mut two) = (Process::start(&serve, &[]), Process::start(&serve, &[]));
    let servers = [one.listens().await, two.listens().await];
    Stand::with([one, two], servers).await
}

async fn compare(suite: &str, stand: &Stand, direct: usize) {
    let direct = format!("http://{}/mcp", stand.servers[direct]);
    let routed = format!("http://{}/mcp", stand.router.address);
    let compare = ["python3", "tests/conformance/compare"];
    let options = ["--suite", suite, "--direct", &direct, "--routed", &routed];
    let ended = Process::start(&words(&[&compare[..], &options].concat()), &[]).ended(SUITE).await;
    assert!(ended.good, "{}{}", ended.stdout, ended.stderr);
}

#[tokio::test]
#[ignore = "needs tests/run: the conformance suites"]
async fn legacy_verdicts_are_the_same_at_even_weights() {
    compare("legacy", &stand("legacy").await, 0).await;
}

/// Each server seals the state between two rounds of a question with a key of its own, so all of it
/// has to go to one arm, whoever seems to call; here to the one that is not the stable one.
#[tokio::test]
#[ignore = "needs tests/run: the conformance suites"]
async fn modern_verdicts_are_the_same_on_one_arm() {
    let stand = stand("modern").await;
    stand.router.split(0, 100).await;
    compare("modern", &stand, 1).await;
}
