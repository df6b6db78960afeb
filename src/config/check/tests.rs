//! Each key as a table: what it takes, what it refuses and in which words.

use std::fmt::Debug;
use std::path::Path;

use super::super::environment::Environment;
use super::super::file::Reader;
use super::super::tree::{Source, parse};
use super::*;

/// The configuration that a text gives, and the messages of its problems.
fn read(text: &str) -> (Config, Vec<String>) {
    let source = Source { name: String::new(), text: text.into() };
    let (root, broken) = parse(&source);
    assert!(broken.is_empty(), "{text}: {broken:?}");
    let env = Environment::default();
    let reader = Reader::new(&source, Path::new("/etc"), &env, true);
    let config = config(&mut reader.root(root));
    (config, reader.finish().into_iter().map(|problem| problem.message).collect())
}

/// `key` takes each `good` value, shown as given, and refuses each `bad` one in these words.
#[track_caller]
fn check<T: Debug>(
    key: &str,
    value: impl Fn(Config) -> T,
    good: &[(&str, &str)],
    bad: &[(&str, &str)],
) {
    for (written, shown) in good {
        let (config, problems) = read(&format!("{key} = {written}"));
        assert!(problems.is_empty(), "{key} = {written}: {problems:?}");
        assert_eq!(format!("{:?}", value(config)), *shown, "{key} = {written}");
    }
    for (written, words) in bad {
        let (_, problems) = read(&format!("{key} = {written}"));
        assert_eq!(problems.len(), 1, "{key} = {written}: {problems:?}");
        assert!(problems[0].contains(words), "{key} = {written}: {problems:?}");
    }
}

#[test]
fn listeners() {
    let good = [
        ("'0.0.0.0:80'", "[0.0.0.0:80]"),
        ("['[::]:80', '127.0.0.1:80']", "[[::]:80, 127.0.0.1:80]"),
        ("['127.0.0.1:0', '127.0.0.1:0']", "[127.0.0.1:0, 127.0.0.1:0]"),
    ];
    let bad = [
        ("':80'", "no address"),
        ("[]", "at least one"),
        ("8080", "`8080` is no address"),
        ("['1.1.1.1:1', '1.1.1.1:1']", "there already"),
        ("{}", "must be a string, not a table"),
        ("'127.0.0.1:9464'", "are the same address"),
        ("'127.0.0.1:1'\nmetrics.listen = '127.0.0.1:1'", "are the same address"),
    ];
    check("listen", |config| config.listen, &good, &bad);
    let good = [("'off'", "None"), ("'0.0.0.0:1'", "Some(0.0.0.0:1)")];
    let bad = [("false", "not a boolean"), ("'127.0.0.1:8080'", "are the same address")];
    check("metrics.listen", |config| config.metrics.map(|it| it.listen), &good, &bad);
}

#[test]
fn numbers() {
    let bad = [
        ("0", "from 1 to 1024"),
        ("1025", "from 1 to"),
        ("-1", "no whole"),
        ("1.5", "not a fraction"),
    ];
    check("workers", |config| config.workers, &[("3", "3"), ("'7'", "7")], &bad);
    let bad = [("9", "from 10 to 1000"), ("'1k'", "no whole number")];
    check("limits.headers", |config| config.limits.headers, &[("10", "10")], &bad);
    let bad = [("0", "from 1 to 1000000")];
    check("limits.connections", |config| config.limits.connections, &[("1", "1")], &bad);
}

#[test]
fn sizes() {
    let good = [("1024", "1024"), ("'2KiB'", "2048"), ("'1MiB'", "1048576")];
    let bad =
        [("1023", "from 1KiB to 1MiB"), ("'2MiB'", "from 1KiB to 1MiB"), ("''", "not a size")];
    check("limits.header_bytes", |config| config.limits.header_bytes, &good, &bad);
    check("limits.body", |config| config.limits.body, &good, &[("'2GiB'", "from 1KiB to 1GiB")]);
}

#[test]
fn durations() {
    let bad = [
        ("'0s'", "more than 0s"),
        ("'25h'", "at most 24h"),
        ("'off'", "not a duration"),
        ("[]", "not a list"),
    ];
    check("timeouts.drain", |config| config.timeouts.drain, &[("'1m'", "60s")], &bad);
    check("dns.interval", |config| config.dns.interval, &[("'1m'", "60s")], &bad);
    check("dns.keep", |config| config.dns.keep, &[("'1h'", "3600s")], &bad);
    let good = [("'off'", "None"), ("'250ms'", "Some(250ms)")];
    check("timeouts.keep_alive", |config| config.timeouts.keep_alive, &good, &[bad[0], bad[1]]);
}

#[test]
fn paths_of_urls() {
    let bad = [
        ("'mcp'", "start with `/`"),
        ("''", "start with `/`"),
        ("'/a?b'", "without `?`"),
        ("'/a#b'", "without `?`"),
        ("'/a b'", "no path"),
    ];
    let good = [("'/'", r#""/""#), ("'/a/b'", r#""/a/b""#)];
    check("path", |config| config.path, &good, &bad);
    check("sse_path", |config| config.sse_path, &good, &bad);
    check("path", |config| config.path, &[], &[("'/sse'", "have to differ")]);
    check("sse_path", |config| config.sse_path, &[], &[("'/mcp'", "have to differ")]);
}

#[test]
fn origins_and_hosts() {
    let good = [
        ("'https://MCP.example.com'", r#"Some("https://mcp.example.com")"#),
        ("'http://h:8080/'", r#"Some("http://h:8080")"#),
        ("'http://[::1]:8080'", r#"Some("http://[::1]:8080")"#),
    ];
    let bad = [
        "h",
        "https://h/x",
        "ftp://h",
        "https://u@h",
        "https://",
        "https://h?x",
        "https://h#x",
        "http://h:99999",
        "http://h:",
    ];
    let bad = bad.map(|text| (format!("'{text}'"), "is no origin"));
    let bad = bad.each_ref().map(|(text, words)| (text.as_str(), *words));
    check("public_origin", |config| config.public_origin, &good, &bad);
    let good = [
        ("'preserve'", "Preserve"),
        ("'upstream'", "Upstream"),
        ("'mcp.local:80'", r#"Fixed("mcp.local:80")"#),
    ];
    let bad = [
        ("'perserve'", "did you mean `preserve`"),
        ("'a b'", "neither"),
        ("'a@b'", "neither"),
        ("'a:0'", "neither"),
        ("'a:'", "neither"),
    ];
    check("host", |config| config.host, &good, &bad);
}

#[test]
fn words() {
    let bad = [("'https'", "none of `jsonrpc`, `http`"), ("1", "none of")];
    check("errors", |config| config.errors, &[("'http'", "Http")], &bad);
    let good = [("'random'", "Random"), ("'round-robin'", "RoundRobin")];
    let bad = [("'rr'", "none of `least-requests`")];
    check("primary.balance", |config| config.arms.primary.balance, &good, &bad);
    let bad = [("'pretty'", "none of `text`, `json`")];
    check("log.format", |config| config.log.format, &[("'json'", "Json")], &bad);
    let good = [("'info,tidegate::proxy=debug'", r#""info,tidegate::proxy=debug""#)];
    let bad =
        [("'inof'", "`inof` is no"), ("''", "`` is no"), ("'=info'", "is no"), ("'a=b'", "is no")];
    check("log.level", |config| config.log.level, &good, &bad);
}

#[test]
fn splits() {
    let good = [
        ("{ primary = 90, secondary = 10 }", "primary:90 secondary:10"),
        ("{ secondary = '25%' }", "primary:75 secondary:25"),
        ("{ primary = 0 }", "primary:0 secondary:100"),
        ("{}", "primary:100 secondary:0"),
    ];
    let bad = [
        ("{ primary = 90, secondary = 20 }", "add up to 110"),
        ("{ primary = 101 }", "more than 100"),
        ("{ primary = -1 }", "not a whole percentage"),
        ("50", "must be a table, not an integer"),
        ("{ third = 1 }", "unknown key"),
    ];
    for (written, shown) in good {
        assert_eq!(read(&format!("split = {written}")).0.split.to_string(), shown, "{written}");
    }
    check("split", |config| config.split, &[], &bad);
    let both = "{ primary = 'x', secondary = 'y' }";
    assert_eq!(read(&format!("split = {both}")).1.len(), 2, "both weights are read");
}

#[test]
fn endpoints_and_headers() {
    let bad = [
        ("[]", "at least one"),
        ("['http://h', 'http://h:80/']", "`http://h:80/` is there already"),
        ("['dns+http://127.0.0.1/']", "has an address where `dns+` needs a name"),
        ("[['http://h']]", "not a list"),
    ];
    let urls = |config: Config| config.arms.primary.endpoints.len();
    check("primary.endpoints", urls, &[("'http://h'", "1"), ("'dns+http://h'", "1")], &bad);
    let many = (0..=ENDPOINTS_MAX).map(|n| format!("'http://h{n}/'")).collect::<Vec<_>>();
    let many = format!("[{}]", many.join(", "));
    check("primary.endpoints", urls, &[], &[(&many, "one too many: at most 64")]);

    let names = |config: Config| {
        let headers = config.arms.primary.headers;
        headers.into_iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>()
    };
    let bad = [
        ("{ Connection = 'x' }", "`connection` cannot be set"),
        ("{ Mcp-Session-Id = 'x' }", "cannot be set"),
        ("{ x-a = '1', X-A = '2' }", "`x-a` is there twice"),
        ("{ x = '' }", "is empty"),
        ("{ x = \"a\\nb\" }", "no header can"),
        ("{ x = 1 }", "must be a string, not an integer"),
        ("{ x = {} }", "must be a string, `{ file"),
        ("{ x = { file = 'a', credential = 'b' } }", "must be a string, `{ file"),
        ("{ x = { credential = 'b' } }", "`CREDENTIALS_DIRECTORY` is not set"),
        ("{ x = { credential = '../b' } }", "no name of a credential"),
        ("{ x = { file = '/' } }", "cannot read this secret"),
        ("{ x = { file = '/dev/null' } }", "this secret is empty"),
        ("{ x = { file = '/dev/zero' } }", "longer than 65536 bytes"),
    ];
    check("primary.headers", names, &[("{ X-A = 'b' }", r#"["x-a"]"#)], &bad);
}

#[test]
fn principals_and_keys() {
    let good = [
        ("'client-address'", "[ClientAddress]"),
        ("['header:X-Team', 'authorization']", r#"[Header("x-team"), Authorization]"#),
    ];
    let bad = [
        ("['header:']", "none of"),
        ("['cookie']", "none of `authorization`"),
        ("['authorization', 'header:Authorization']", "there already"),
    ];
    check("affinity.principal", |config| config.affinity.principal, &good, &bad);
    let good = [("['10.0.0.0/8', '::1']", "[10.0.0.0/8, ::1/128]")];
    let bad = [("'10.1.0.0/8'", "did you mean `10.0.0.0/8`"), ("'lan'", "no network")];
    check("affinity.trusted_proxies", |config| config.affinity.trusted_proxies, &good, &bad);
    let key = "0123456789abcdef0123456789abcdef";
    let good = [(&*format!("'{key}'"), "Some([secret])")];
    check("affinity.key", |config| config.affinity.key, &good, &[("'x'", "shorter than 32 bytes")]);
    let twice = format!("'{key}'\naffinity.previous_key = '{key}'");
    check("affinity.key", |config| config.affinity.key, &[], &[(&twice, "nothing was rotated")]);
}

#[test]
fn the_admin_socket() {
    let bad = [("600", "must be a string"), ("'0060'", "locks the router itself out")];
    check("admin.mode", |config| config.admin.mode, &[("'0660'", "432")], &bad);
    let good = [("['root', 7, '8']", "[0, 7, 8]"), ("[]", "[]"), ("'root'", "[0]")];
    let bad =
        [("'no-such-one'", "no such user"), ("-1", "no such user"), ("4294967295", "no such")];
    check("admin.users", |config| config.admin.users, &good, &bad);
    check("admin.groups", |config| config.admin.groups, &[("'root'", "[0]")], &[]);
    let good = [("'/a/b'", r#""/a/b""#), ("'run/s'", r#""/etc/run/s""#)];
    let long = format!("'/{}'", "x".repeat(SOCKET_PATH_MAX));
    let bad = [("''", "empty path"), (&*long, "longer than the 107 bytes")];
    check("admin.socket", |config| config.admin.socket, &good, &bad);
    check("state_dir", |config| config.state_dir, &good, &bad[..1]);
}
