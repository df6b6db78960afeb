//! Whole files in, configurations or problems out.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::super::{HostPolicy, Secret};
use super::*;
use crate::names::{Arm, Split};

fn env(pairs: &[(&str, &str)]) -> Environment {
    Environment(pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect())
}

fn read(text: &str, profile: Option<&str>, env: &Environment) -> Result<Config, Problems> {
    Document::parse(Some(Path::new("t.toml")), text.into()).load(profile, env)
}

fn problems(text: &str, profile: Option<&str>, env: &Environment) -> Vec<String> {
    let found = read(text, profile, env).err();
    found.iter().flatten().map(ToString::to_string).collect()
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

#[test]
fn without_a_file_everything_has_a_default() {
    let config = load(None, None, &Environment::default()).unwrap();
    assert_eq!(config.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(config.arms.secondary.endpoints[0].to_string(), "http://127.0.0.1:3001/mcp");
    assert_eq!(config.split, Split::PRIMARY_ONLY);
    assert_eq!(config.state_dir, Path::new("/var/lib/tidegate"));
    assert_eq!(check_all(None, &Environment::default()), Ok(Vec::new()));
}

#[test]
fn a_file_that_says_the_defaults_changes_nothing() {
    let env = env(&[("HOME", "/home/x")]);
    let mut file = load(Some(&shipped().join("tidegate.toml")), None, &env).unwrap();
    file.file = None;
    assert_eq!(format!("{file:#?}"), format!("{:#?}", load(None, None, &env).unwrap()));
}

#[test]
fn the_example_shows_every_key() {
    let source = Source { name: String::new(), text: String::new() };
    let env = Environment::default();
    let reader = Reader::new(&source, Path::new(""), &env, true);
    check::config(&mut reader.root(Table::new()));
    let example = fs::read_to_string(shipped().join("tidegate.toml")).unwrap();
    for path in reader.known() {
        let (section, key) = path.rsplit_once('.').unwrap_or(("", &path));
        assert!(shows(&example, section, key), "config/tidegate.toml lacks {path}");
    }
}

/// Whether a section of the example has a key, as a table, as a line or as a comment.
fn shows(example: &str, section: &str, key: &str) -> bool {
    let mut here = String::new();
    example.lines().any(|line| {
        if let Some(header) = line.strip_prefix('[') {
            here = header.trim_end_matches(']').to_owned();
        }
        let line = line.trim_start_matches("# ");
        let is_header = tree::join(section, key) == here;
        is_header || (here == section && line.starts_with(&format!("{key} = ")))
    })
}

#[test]
fn every_shipped_file_loads_with_every_profile() {
    let folder = tempfile::tempdir().unwrap();
    for secret in ["candidate-api-key", "tag-key"] {
        fs::write(folder.path().join(secret), "0123456789abcdef0123456789abcdef\n").unwrap();
    }
    let made = rcgen::generate_simple_self_signed(["mcp.example.com".to_owned()]).unwrap();
    for certificate in ["mcp.example.com.pem", "internal-ca.pem"] {
        fs::write(folder.path().join(certificate), made.cert.pem()).unwrap();
    }
    let key = folder.path().join("mcp.example.com.key");
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    let secrets = folder.path().display().to_string();
    let env = env(&[("STAGING_TOKEN", "s"), ("PROD_TOKEN", "p"), ("SECRETS_DIR", &secrets)]);
    let mut seen = 0;
    for entry in fs::read_dir(shipped()).unwrap() {
        let file = entry.unwrap().path();
        // The others are for Prometheus and Grafana.
        if file.is_dir() {
            continue;
        }
        let none = Environment::default();
        let names = check_all(Some(&file), &none).unwrap_or_else(|found| panic!("{found}"));
        for profile in names.iter().map(Some).chain([None]) {
            let profile = profile.map(String::as_str);
            load(Some(&file), profile, &env).unwrap_or_else(|found| panic!("{found}"));
            seen += 1;
        }
    }
    assert!(seen >= 5, "only {seen}");
}

#[test]
fn every_problem_is_found_at_once() {
    let text = r#"listen = ["127.0.0.1:8080", "localhost"]
workers = 0
lisen = 1
sse_path = "/mcp"
host = "preserv"
[primary]
enpoints = ["http://127.0.0.1/"]
endpoints = "ftp://x"
[secondary]
endpoints = ["files://x/", "http://x/", "http://x/"]
headers = { host = "x", "a b" = "x", x-token = "${NOPE}", y = { file = "/nope" } }
[split]
primary = 90
secondary = "20%"
[limits]
header_bytes = "1MB2"
body = true
[timeouts]
total = "5s"
connect = 5
drain = "off"
[admin]
mode = 0o600
users = ["no-such-user-here"]
[affinity]
key = "short"
principal = []
trusted_proxies = ["10.0.0.1/8"]
[log]
level = "inof"
= broken
"#;
    let found = problems(text, None, &Environment::default());
    let wanted = [
        "t.toml:1:29: listen[1]: `localhost` is no address with a port",
        "t.toml:2:11: workers: must be from 1 to 1024",
        "t.toml:3:1: lisen: unknown key `lisen`; did you mean `listen`?",
        "t.toml:4:12: sse_path: `path` and `sse_path` have to differ",
        "t.toml:5:8: host: `preserv`: did you mean `preserve`?",
        "t.toml:7:1: primary.enpoints: unknown key `enpoints`; did you mean `endpoints`?",
        "t.toml:8:13: primary.endpoints: `ftp://x` is no http URL",
        "t.toml:10:14: secondary.endpoints[0]: `files://x/` is no http URL",
        "t.toml:10:41: secondary.endpoints[2]: `http://x/` is there already",
        "t.toml:11:20: secondary.headers.host: `host` cannot be set",
        "t.toml:11:33: secondary.headers.\"a b\": `a b` is no name of a header",
        "t.toml:11:48: secondary.headers.x-token: the environment variable `NOPE` is not set",
        "t.toml:11:72: secondary.headers.y.file: cannot read this secret: No such file",
        "t.toml:14:13: split.secondary: primary:90 and secondary:20 add up to 110, not to 100",
        "t.toml:16:16: limits.header_bytes: `1MB2` has the unknown unit `MB2`",
        "t.toml:17:8: limits.body: must be a string, not a boolean",
        "t.toml:19:1: timeouts.total: a total timeout would cut event streams",
        "t.toml:20:11: timeouts.connect: `5` has no unit: write `5s`",
        "t.toml:21:9: timeouts.drain: `off` is not a duration",
        "t.toml:23:8: admin.mode: must be a string, not an integer",
        "t.toml:24:10: admin.users[0]: this machine has no such user",
        "t.toml:26:7: affinity.key: is shorter than 32 bytes; make one with `openssl",
        "t.toml:27:13: affinity.principal: must hold at least one",
        "t.toml:28:20: affinity.trusted_proxies[0]: `10.0.0.1/8` is an address in a network",
        "t.toml:30:9: log.level: `inof` is no level",
        "t.toml:31:1: ",
    ];
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(found.starts_with(wanted), "\n{found}\n{wanted}");
    }
}

#[test]
fn a_profile_changes_what_it_names() {
    let text = r#"
        path = "/a"
        [split]
        primary = 100
        secondary = 0
        [primary]
        endpoints = ["http://a/"]
        headers = { x = "1", y = "2" }
        [profiles.p]
        path = "/b"
        split.secondary = 30
        primary.headers.y = "3"
        [profiles.q]
        limits = { headers = 11, headrs = 12 }
        workers = "many"
        profiles = {}
    "#;
    let env = Environment::default();
    let config = read(text, Some("p"), &env).unwrap();
    assert_eq!((config.path.as_str(), config.profile.as_deref()), ("/b", Some("p")));
    assert_eq!(config.split.weight(Arm::Secondary), 30);
    let values: Vec<_> = config.arms.primary.headers.iter().map(|(_, value)| value).collect();
    assert_eq!(values, ["1", "3"]);
    assert_eq!(read(text, None, &env).unwrap().path, "/a");
    assert_eq!(
        problems(text, Some("q"), &env),
        [
            "t.toml:14:34: profiles.q.limits.headrs: unknown key `headrs`; did you mean `headers`?",
            "t.toml:15:19: profiles.q.workers: `many` is no whole number",
            "t.toml:16:9: profiles.q.profiles: neither a profile nor a plan can hold profiles",
        ]
    );
    assert_eq!(
        problems(text, Some("r"), &env),
        ["t.toml: profiles: there is no profile `r`; there is `p`, `q`"]
    );
}

#[test]
fn profiles_have_to_be_tables() {
    let env = Environment::default();
    assert_eq!(
        problems("profiles = 1", None, &env),
        ["t.toml:1:12: profiles: must be a table, not an integer"]
    );
    assert_eq!(problems("[profiles]\np = 1", Some("p"), &env).len(), 2);
    let nothing = load(None, Some("p"), &env).unwrap_err().to_string();
    assert!(nothing.starts_with("(defaults): profiles: there is no profile `p`"), "{nothing}");
}

#[test]
fn profiles_that_are_not_chosen_need_nothing_from_this_machine() {
    let text = r#"
        [profiles.p.primary]
        headers = { a = "${NOPE}", b = { file = "/nope" }, c = { credential = "nope" } }
        [profiles.p.admin]
        users = ["no-such-user-here"]
        [profiles.q]
        nope = 1
        public_origin = "${}"
    "#;
    let document = || Document::parse(Some(Path::new("t.toml")), text.into());
    let env = Environment::default();
    assert!(document().load(None, &env).is_ok());
    assert_eq!(document().load(Some("p"), &env).unwrap_err().iter().count(), 4);
    let found = document().check_all(&env).unwrap_err().to_string();
    assert_eq!(found.lines().count(), 2, "{found}");
    assert!(found.contains("profiles.q.nope") && found.contains("`${}` names no"), "{found}");
}

#[test]
fn secrets_come_from_three_places_and_are_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "hunter2-file\r\n\n").unwrap();
    let file = folder.path().join("t.toml");
    let key = "key = \"${KEY}\"\nsalt = \"hunter2-hunter2-salt\"";
    let headers = "a = \"Bearer ${TOKEN}\"\nb = { file = \"token\" }\nc.credential = \"token\"";
    fs::write(&file, format!("[affinity]\n{key}\n[primary.headers]\n{headers}")).unwrap();
    let place = folder.path().display().to_string();
    let long = "hunter2".repeat(5);
    let env = env(&[("TOKEN", "hunter2"), ("KEY", &long), ("CREDENTIALS_DIRECTORY", &place)]);
    let config = load(Some(&file), None, &env).unwrap_or_else(|found| panic!("{found}"));
    let values: Vec<_> = config.arms.primary.headers.iter().map(|(_, value)| value).collect();
    assert_eq!(values, ["Bearer hunter2", "hunter2-file", "hunter2-file"]);
    assert_eq!(config.affinity.key, Some(Secret::new(long)));
    assert!(!format!("{config:?} {env:?}").contains("hunter"));
}

#[test]
fn no_problem_shows_what_the_environment_or_a_secret_held() {
    let text = r#"
        listen = "${S}"
        workers = "${S}"
        path = "${S}"
        public_origin = "x${S}"
        host = "${S}@"
        errors = "${S}"
        [primary]
        endpoints = ["${S}", "http://u:${S}@h/", "https://h/${S}"]
        balance = "${S}"
        headers = { a = "${S}\u0000", b = { credential = "/${S}" }, c = { file = "/${S}" } }
        [secondary.headers]
        d = { file = "x", key = "hunter2" }
        e = ["hunter2"]
        host = "hunter2"
        [split]
        primary = "${S}"
        [affinity]
        key = "hunter2"
        salt = "${S}"
        principal = ["${S}"]
        trusted_proxies = ["${S}"]
        [limits]
        body = "${S}"
        [timeouts]
        connect = "1${S}"
        [admin]
        mode = "${S}"
        users = "${S}"
        [metrics]
        listen = "${S}"
        [log]
        format = "${S}"
        level = "info,${S}"
    "#;
    let found = problems(text, None, &env(&[("S", "hunter2")]));
    assert!(found.len() >= 25, "{found:#?}");
    assert!(!found.join("\n").contains("hunter2"), "{found:#?}");
}

#[test]
fn files_that_are_no_text() {
    let env = Environment::default();
    let nowhere = load(Some(Path::new("/nope/x.toml")), None, &env).unwrap_err();
    assert!(nowhere.to_string().starts_with("/nope/x.toml: cannot read this file: No such"));
    let bytes = Document::parse(Some(Path::new("t")), b"a = 1\nb = \"\xff\"".to_vec());
    let found = bytes.load(None, &env).unwrap_err().to_string();
    assert_eq!(found, "t:2:6: this is not UTF-8, which TOML has to be");
}

#[test]
fn a_problem_stays_on_one_line() {
    let found = problems("\"a\\nb\\u001b\" = 1\nhost = \"x\\n\"", None, &Environment::default());
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|line| !line.contains(char::is_control)), "{found:#?}");
    let found = read("a = 1", None, &Environment::default()).unwrap_err();
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!((&json[0]["line"], &json[0]["key"]), (&1.into(), &"a".into()));
}

#[test]
fn only_some_keys_need_a_restart() {
    let env = Environment::default();
    let config = |text: &str| read(text, None, &env).unwrap();
    let changes = |text: &str| config("").restart_only_changes(&config(text));
    assert!(changes("path = '/x'\nhost = 'upstream'\nlimits.body = '1MiB'").is_empty());
    assert_eq!(config("host = 'h:1'").host, HostPolicy::Fixed("h:1".parse().unwrap()));
    assert_eq!(changes("workers = 999\nmetrics.listen = 'off'"), ["workers", "metrics.listen"]);
    assert_eq!(changes("admin.mode = '0660'\nlog.format = 'json'"), ["admin.mode", "log.format"]);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Document::parse(None, bytes).check_all(&Environment::default());
    }

    #[test]
    fn no_text_of_familiar_pieces_panics(
        pieces in prop::collection::vec(0..PIECES.len(), 0..40)
    ) {
        let text: String = pieces.into_iter().map(|piece| PIECES[piece]).collect();
        let _ = Document::parse(None, text.clone().into()).check_all(&Environment::default());
        let _ = Document::parse(None, text.into()).load(Some("p"), &Environment::default());
    }
}

/// Arbitrary bytes seldom get past the parser; these often do.
const PIECES: &[&str] = &[
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\n",
    "\n",
    " ",
    "\"",
    "'",
    "#",
    "é",
    "\u{feff}",
    "profiles",
    "p",
    "primary",
    "headers",
    "endpoints",
    "split",
    "affinity",
    "key",
    "file",
    "admin",
    "limits",
    "body",
    "0",
    "-1",
    "99999999999999999999",
    "1.5",
    "true",
    "\"${A}\"",
    "\"${\"",
    "'5s'",
    "listen",
    "'/'",
    "1979-05-27",
];

#[test]
fn a_profile_can_be_named_with_an_arm() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.toml");
    fs::write(&file, "[profiles.production]\n[profiles.blue-secondary]").unwrap();
    for (given, meant) in [
        ("production-secondary", Some(("production", Arm::Secondary))),
        ("production-primary", Some(("production", Arm::Primary))),
        ("production", None),
        ("blue-secondary", None),
        ("blue-secondary-primary", Some(("blue-secondary", Arm::Primary))),
        ("-secondary", None),
        ("secondary", None),
    ] {
        let found = profile_and_arm(Some(&file), given);
        let found = found.as_ref().map(|(profile, arm)| (profile.as_str(), *arm));
        assert_eq!(found, meant, "{given}");
    }
    let without = profile_and_arm(None, "production-secondary");
    assert_eq!(without, Some(("production".to_owned(), Arm::Secondary)));
}
