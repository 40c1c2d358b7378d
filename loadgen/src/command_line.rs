//! The command line as the reports show it: what was typed, without the passwords.

/// Options whose value is a user and a password.
pub const SECRETS: [&str; 2] = ["--auth", "--register-uas"];

/// The arguments as a shell would take them, passwords replaced by `***`.
pub fn masked(arguments: impl Iterator<Item = String>) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut after_secret = false;
    for (index, argument) in arguments.enumerate() {
        let shown = match argument.split_once('=') {
            _ if index == 0 => argument.rsplit('/').next().unwrap_or(&argument).to_string(),
            _ if after_secret => mask(&argument),
            Some((option, value)) if SECRETS.contains(&option) => format!("{option}={}", mask(value)),
            _ => argument.clone(),
        };
        after_secret = SECRETS.contains(&argument.as_str());
        out.push(quoted(&shown));
    }
    out.join(" ")
}

fn mask(value: &str) -> String {
    match value.split_once(':') {
        Some((user, _)) => format!("{user}:***"),
        None => "***".into(),
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+[]*".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn of(line: &[&str]) -> String {
        masked(line.iter().map(ToString::to_string))
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(
            of(&["/usr/bin/x", "calls", "--auth", "al:se:cret", "--rate", "5"]),
            "x calls --auth al:*** --rate 5"
        );
        assert_eq!(of(&["x", "--register-uas=bob:secret"]), "x --register-uas=bob:***");
        assert_eq!(of(&["x", "--auth", "nonsense"]), "x --auth ***");
        assert_eq!(of(&["x", "--assert", "srd_p99<20ms", "it's"]), r"x --assert 'srd_p99<20ms' 'it'\''s'");
    }

    #[test]
    fn every_option_with_a_password_is_known() {
        for command in crate::cli::Cli::command().get_subcommands() {
            for option in command.get_arguments() {
                let names = option.get_value_names().unwrap_or_default();
                if names.iter().any(|name| name.contains("PASSWORD")) {
                    let long = format!("--{}", option.get_long().unwrap_or_default());
                    assert!(SECRETS.contains(&long.as_str()), "{long} would show its password in reports");
                }
            }
        }
    }
}
