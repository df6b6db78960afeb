//! Configuration files: no panic, an end in time, and a place for every problem.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tidegate::config::{self, Environment, Problems};

/// In memory, and away from what else lies about: relative paths of a file begin where it stands.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = PathBuf::from(format!("/dev/shm/tidegate-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder in memory");
    folder.join("tidegate.toml")
});

/// What a file can only get at by `${TOKEN}`; 32 letters, as some secrets need.
const SECRET: &str = "a-secret-that-nobody-shall-see-x";

static ENVIRONMENT: LazyLock<Environment> =
    LazyLock::new(|| Environment([("TOKEN".to_owned(), SECRET.to_owned())].into()));

fn problems(problems: &Problems, lines: usize) {
    for problem in problems {
        assert!((1..=lines).contains(&problem.line), "{problem}");
        assert!(problem.column > 0 && !problem.message.is_empty(), "{problem}");
        assert!(!problem.to_string().contains(char::is_control), "{problem}");
        assert!(!problem.message.contains(SECRET), "{problem}");
    }
}

fuzz_target!(|input: &[u8]| {
    if input.windows(SECRET.len()).any(|it| it == SECRET.as_bytes()) {
        return;
    }
    std::fs::write(&*FILE, input).expect("memory");
    let lines = input.iter().filter(|byte| **byte == b'\n').count() + 1;
    match config::load(Some(&FILE), None, &ENVIRONMENT) {
        Ok(config) => {
            assert!(!config.listen.is_empty() && !config.arms.primary.endpoints.is_empty());
            assert!(!format!("{config:?}").contains(SECRET));
        }
        Err(found) => problems(&found, lines),
    }
    match config::check_all(Some(&FILE), &ENVIRONMENT) {
        Ok(profiles) => {
            for name in profiles {
                // What it lacks is this machine's business, but it has a place too.
                if let Err(found) = config::load(Some(&FILE), Some(&name), &ENVIRONMENT) {
                    problems(&found, lines);
                }
            }
        }
        Err(found) => problems(&found, lines),
    }
});
