//! The style of the house as a test: who may use whom, how long things may get, headers, no
//! unreachable file, a reason for each dependency.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Who may use whom; a new arrow is added here, in the commit that needs it. `app` sees everyone.
const MAY_USE: [(&str, &[&str]); 31] = [
    ("names", &[]),
    ("drain", &[]),
    ("supervisor", &[]),
    ("dns", &["names"]),
    ("overload", &[]),
    ("descriptors", &[]),
    ("tls", &[]),
    ("config", &["names", "tls"]),
    ("lifecycle", &["names", "config"]),
    ("listen", &["names", "drain", "descriptors", "tls"]),
    ("mcp", &["names"]),
    ("route", &["names", "dns", "tls", "config", "mcp"]),
    ("upstream", &["names", "dns", "descriptors", "tls", "config", "mcp", "route"]),
    ("observe", &["names", "mcp", "route", "upstream"]),
    ("proxy", &["names", "overload", "config", "listen", "mcp", "route", "upstream", "observe"]),
    ("health", &["names", "dns", "tls", "config", "mcp", "route", "upstream"]),
    ("validate", &["names", "tls", "config", "mcp", "route", "health"]),
    ("judge", &["names", "config", "mcp", "route", "observe"]),
    ("alerts", &["mcp"]),
    ("rollout", &["names", "config"]),
    ("simulate", &["names", "config", "mcp", "route", "observe", "judge", "rollout"]),
    ("records", &["names", "config", "route", "observe", "alerts", "rollout"]),
    ("report", &["names", "mcp", "observe", "rollout", "records"]),
    ("notify", &["names", "tls", "config", "mcp", "alerts", "records"]),
    ("control", &["names", "dns", "tls", "config", "route", "alerts", "rollout", "records"]),
    (
        "metrics",
        &[
            "names", "dns", "overload", "mcp", "route", "upstream", "observe", "health", "judge",
            "alerts", "rollout", "notify",
        ],
    ),
    (
        "plane",
        &[
            "names",
            "supervisor",
            "dns",
            "overload",
            "tls",
            "config",
            "mcp",
            "route",
            "observe",
            "health",
            "judge",
            "alerts",
            "rollout",
            "records",
            "notify",
            "control",
            "metrics",
        ],
    ),
    (
        "admin",
        &[
            "names", "overload", "tls", "config", "listen", "mcp", "route", "observe", "health",
            "validate", "judge", "alerts", "rollout", "records", "report", "notify", "control",
            "plane",
        ],
    ),
    ("telemetry", &["config"]),
    ("demo", &["names", "config"]),
    (
        "cli",
        &[
            "names",
            "supervisor",
            "dns",
            "config",
            "lifecycle",
            "listen",
            "mcp",
            "health",
            "validate",
            "judge",
            "alerts",
            "rollout",
            "simulate",
            "records",
            "report",
            "notify",
            "control",
            "plane",
            "admin",
            "telemetry",
            "app",
            "demo",
        ],
    ),
];

/// Which tests sleep, and why; all others wait for something.
const MAY_SLEEP: [(&str, &str); 6] = [
    ("tests/it/support.rs", "`within` asks again and again"),
    (
        "tests/it/rollouts/real.rs",
        "that nobody is sent to an arm any more shows after a while only",
    ),
    ("tests/it/support/server.rs", "a server takes its time"),
    ("tests/it/chaos.rs", "faults come at moments that are drawn"),
    ("tests/it/chaos", "faults last, wires are slow, and clients pause"),
    ("tests/it/tidy.rs", "looks for the word"),
];

/// Lines of a file before its tests.
const FILE_MAX: usize = 500;
/// Lines of a function.
const FUNCTION_MAX: usize = 70;

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The file without its inline tests.
    fn body(&self) -> &str {
        let end = self.text.find("#[cfg(test)]\n").unwrap_or(self.text.len());
        if self.is_test() { "" } else { &self.text[..end] }
    }

    fn is_test(&self) -> bool {
        self.path.file_name().is_some_and(|name| name == "tests.rs" || name == "fixture.rs")
    }

    /// The module directly under `src` that it belongs to.
    fn module(&self) -> String {
        let inside = self.path.strip_prefix("src").unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        first.trim_end_matches(".rs").to_owned()
    }
}

fn sources(dir: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(dir)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push(Source { path, text });
            }
        }
    }
    found
}

fn all_sources() -> Vec<Source> {
    let mut all = sources("src");
    all.extend(sources("tests/it"));
    all
}

/// Fails with every line of the list.
#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn imports_point_one_way() {
    let allowed: BTreeMap<_, _> = MAY_USE.into_iter().collect();
    let mut wrong = Vec::new();
    for source in sources("src") {
        let module = source.module();
        if ["app", "main", "lib"].contains(&module.as_str()) {
            continue;
        }
        let Some(allowed) = allowed.get(module.as_str()) else {
            wrong.push(format!("{}: `{module}` is not in the table", source.path.display()));
            continue;
        };
        for (at, _) in source.body().match_indices("crate::") {
            let name: String = source.body()[at + 7..]
                .chars()
                .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
                .collect();
            if name != module && !allowed.contains(&name.as_str()) && !name.is_empty() {
                wrong.push(format!("{}: {module} uses {name}", source.path.display()));
            }
        }
    }
    none("imports against the flow", &wrong);
}

#[test]
fn the_table_points_one_way() {
    let order: Vec<&str> = MAY_USE.iter().map(|(module, _)| *module).collect();
    for (place, (module, uses)) in MAY_USE.iter().enumerate() {
        for used in *uses {
            let before = order.iter().position(|it| it == used).is_none_or(|at| at < place);
            assert!(before, "{module} uses {used}, which comes later");
        }
    }
}

#[test]
fn files_say_what_they_are_for() {
    let wrong: Vec<_> = all_sources()
        .iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| source.path.display().to_string())
        .collect();
    none("files without a header", &wrong);
    let silent: Vec<_> = sources("src")
        .iter()
        .filter(|source| {
            !source.is_test() && !["main", "lib", "app", "cli"].contains(&source.module().as_str())
        })
        .filter(|source| {
            let header: String = source
                .text
                .lines()
                .take_while(|line| line.starts_with("//!"))
                .map(|line| line.trim_start_matches("//!").trim())
                .collect::<Vec<_>>()
                .join(" ")
                .to_lowercase();
            !["not know", "not judge", "knows no", "never heard", "does not"]
                .iter()
                .any(|say| header.contains(say))
        })
        .map(|source| source.path.display().to_string())
        .collect();
    none("headers that do not say what the file does not know", &silent);
}

#[test]
fn files_stay_short() {
    let wrong: Vec<_> = all_sources()
        .iter()
        .map(|source| (source, if source.is_test() { &source.text } else { source.body() }))
        .filter(|(_, body)| body.lines().count() > FILE_MAX)
        .map(|(source, body)| format!("{}: {} lines", source.path.display(), body.lines().count()))
        .collect();
    none("files that are too long", &wrong);
}

#[test]
fn functions_fit_a_screen() {
    let mut wrong = Vec::new();
    for source in all_sources() {
        let mut open: Option<(usize, String, usize)> = None;
        for (number, line) in source.text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let code = line.trim_start();
            let begins =
                ["fn ", "pub fn ", "async fn ", "pub async fn ", "const fn ", "pub const fn "]
                    .iter()
                    .any(|start| code.starts_with(start))
                    || (code.starts_with("pub(") && code.contains(") fn "))
                    || (code.starts_with("pub(") && code.contains(") async fn "));
            if begins && !code.ends_with(';') && open.is_none() {
                open = Some((number, code.to_owned(), indent));
            } else if let Some((start, name, own)) = &open
                && code == "}"
                && indent == *own
            {
                if number - start >= FUNCTION_MAX {
                    wrong.push(format!(
                        "{}:{} {} lines: {name}",
                        source.path.display(),
                        start + 1,
                        number - start + 1
                    ));
                }
                open = None;
            } else if let Some((_, _, own)) = &open
                && indent == *own
                && code.ends_with('}')
            {
                open = None;
            }
        }
    }
    none("functions that are too long", &wrong);
}

#[test]
fn every_file_is_reached() {
    let mut wrong = Vec::new();
    for source in all_sources() {
        let name = source.path.file_stem().unwrap().to_string_lossy().into_owned();
        let folder = source.path.parent().unwrap();
        let parents = [folder.with_extension("rs"), folder.join("lib.rs"), folder.join("main.rs")];
        let declared =
            parents.iter().filter_map(|parent| std::fs::read_to_string(parent).ok()).any(|text| {
                text.lines().any(|line| line.trim_end().ends_with(&format!("mod {name};")))
            });
        if !declared && !["lib", "main"].contains(&name.as_str()) {
            wrong.push(source.path.display().to_string());
        }
        if name == "mod" {
            wrong.push(format!("{}: foo.rs beside foo/, never mod.rs", source.path.display()));
        }
    }
    none("files that nobody declares", &wrong);
}

#[test]
fn no_unwrap_outside_tests() {
    let wrong: Vec<_> = sources("src")
        .iter()
        .flat_map(|source| {
            source
                .body()
                .lines()
                .enumerate()
                .filter(|(_, line)| line.contains(".unwrap()"))
                .map(|(number, _)| format!("{}:{}", source.path.display(), number + 1))
                .collect::<Vec<_>>()
        })
        .collect();
    none("unwrap outside tests", &wrong);
}

#[test]
fn tests_do_not_sleep() {
    let wrong: Vec<_> = sources("tests/it")
        .iter()
        .filter(|source| !MAY_SLEEP.iter().any(|(path, _)| source.path.starts_with(path)))
        .flat_map(|source| {
            source
                .text
                .lines()
                .enumerate()
                .filter(|(_, line)| line.contains("sleep(") || line.contains("sleep_until("))
                .map(|(number, _)| format!("{}:{}", source.path.display(), number + 1))
                .collect::<Vec<_>>()
        })
        .collect();
    none("tests that sleep where they could wait for something", &wrong);
}

#[test]
fn every_dependency_says_why() {
    let manifest = std::fs::read_to_string("Cargo.toml").unwrap();
    let section = |name: &str| {
        manifest
            .split(&format!("[{name}]\n"))
            .nth(1)
            .map(|rest| {
                rest.lines()
                    .take_while(|line| !line.starts_with('['))
                    .filter(|line| !line.trim().is_empty())
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .unwrap()
    };
    let direct = section("dependencies");
    assert!(direct.len() <= 30, "{} direct dependencies", direct.len());
    let wrong: Vec<_> = [direct, section("dev-dependencies")]
        .concat()
        .into_iter()
        .filter(|line| !line.contains(" # "))
        .collect();
    none("dependencies without a reason", &wrong);
}

#[test]
fn the_top_level_holds_nothing_else() {
    let known = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "Dockerfile",
        "src",
        "config",
        "benches",
        "tests",
        "systemd",
        "target",
    ];
    let wrong: Vec<_> = std::fs::read_dir(Path::new("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "proptest-regressions")
        .filter(|name| !known.contains(&name.as_str()))
        .collect();
    none("files that do not belong on the top level", &wrong);
}
