//! What every command owes to whoever reads its help.

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use super::*;

/// Every command, with the words that lead to it.
fn all() -> Vec<(String, Command)> {
    fn add(all: &mut Vec<(String, Command)>, before: &str, command: &Command) {
        let path = format!("{before}{}", command.get_name());
        command.get_subcommands().for_each(|each| add(all, &format!("{path} "), each));
        all.push((path, command.clone()));
    }
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut all_of_them = Vec::new();
    add(&mut all_of_them, "", &command);
    all_of_them
}

/// The lines that follow `Example: ` in the help of a command.
fn examples(command: &Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    help.lines().filter_map(|line| line.strip_prefix("Example: ")).map(str::to_owned).collect()
}

/// A line of the shell as commands of words; quotes keep some together.
fn commands(line: &str) -> Vec<Vec<String>> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for letter in line.chars().chain([' ']) {
        match letter {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            letter => word.push(letter),
        }
    }
    let commands = words.split(|word| ["&&", "|", ">"].contains(&word.as_str()));
    commands.filter(|words| words[0] == "tidegate").map(<[String]>::to_vec).collect()
}

#[test]
fn every_command_says_what_it_does_and_shows_how() {
    let mut wrong = Vec::new();
    for (path, command) in all() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        if about.is_empty() || about.contains('\n') {
            wrong.push(format!("{path}: one line of what it does: {about:?}"));
        }
        let shown = examples(&command);
        let is_shown = shown.iter().any(|line| line.contains(&path));
        if !is_shown {
            wrong.push(format!("{path}: an example: {shown:?}"));
        }
        for argument in command.get_arguments() {
            if argument.get_help().is_none() {
                wrong.push(format!("{path}: what {} is", argument.get_id()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_example_is_a_command_line() {
    for (_, command) in all() {
        for line in examples(&command) {
            for words in commands(&line) {
                let read = Cli::try_parse_from(words);
                assert!(read.is_ok(), "{line}: {}", read.unwrap_err());
            }
        }
    }
}

#[test]
fn help_fits_a_terminal() {
    for (path, mut command) in all() {
        for help in [command.render_help(), command.render_long_help()] {
            let help = help.to_string();
            let long: Vec<_> = help.lines().filter(|line| line.chars().count() > 100).collect();
            assert!(long.is_empty(), "{path}:\n{}", long.join("\n"));
        }
    }
}

#[test]
fn every_command_has_a_man_page() {
    let pages = init::pages();
    assert_eq!(pages.len(), all().len());
    let names: Vec<_> = pages.iter().map(clap_mangen::Man::get_filename).collect();
    assert!(names.contains(&"tidegate-rollout-start.1".to_owned()), "{names:?}");
    for page in pages {
        let mut text = Vec::new();
        page.render(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("\n.SH NAME\ntidegate"), "{}: {text}", page.get_filename());
    }
}

#[test]
fn every_shell_has_completions() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "tidegate", &mut script);
        let script = String::from_utf8(script).unwrap();
        for word in ["set-traffic-split", "simulate", "allow-breaking"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}
