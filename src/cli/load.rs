//! Reads the configuration file and the files it names.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::fault::{Fault, path};
use crate::config::{self, Config, Outcome};
use crate::control::log::styled;

/// Longest file that is read; a longer one is a mistake.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// A file as read.
#[derive(Debug)]
pub struct Source {
    /// As diagnostics name it.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Reads the file; none means the defaults.
///
/// # Errors
/// It cannot be read or is not text.
pub fn source(file: Option<&Path>) -> Result<Source, Fault> {
    let Some(file) = file else { return Ok(Source { name: "(defaults)".into(), text: String::new() }) };
    let name = file.display().to_string();
    let unreadable = |error: &std::io::Error| {
        let mut message = path(error, "read", file, "--config");
        if error.kind() == ErrorKind::NotFound {
            message += &format!(".\n  `strowger config defaults > {name}` makes one with every setting, commented");
        }
        Fault::config(message)
    };
    let length = fs::metadata(file).map_err(|error| unreadable(&error))?.len();
    if length > FILE_BYTES_MAX {
        return Err(Fault::config(format!("{name} has {length} bytes; a configuration has at most {FILE_BYTES_MAX}")));
    }
    let bytes = fs::read(file).map_err(|error| unreadable(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count() + 1;
        Fault::config(format!("{name}:{line}: not UTF-8 text"))
    })?;
    Ok(Source { name, text })
}

/// Everything that is wrong, with lines and carets.
#[must_use]
pub fn rendered(source: &Source, outcome: &Outcome, styled: bool) -> String {
    let mut out: String =
        outcome.errors.iter().map(|error| format!("{}\n\n", error.render(&source.text, styled))).collect();
    if outcome.more > 0 {
        out.push_str(&format!("… and {} more\n", outcome.more));
    }
    out
}

/// The configuration with its secrets.
///
/// # Errors
/// Everything that is wrong, with lines and carets.
pub fn config(file: Option<&Path>) -> Result<Config, Fault> {
    let source = source(file)?;
    let outcome = config::read(&source.text, &source.name);
    let Some(mut config) = outcome.config else {
        let errors = outcome.errors.len() + outcome.more;
        let wrong = rendered(&source, &outcome, styled());
        let things = if errors == 1 { "error" } else { "errors" };
        return Err(Fault::config(format!("{} has {errors} {things}\n\n{wrong}", source.name)));
    };
    secrets(&mut config).map_err(|errors| Fault::config(errors.join("\n")))?;
    Ok(config)
}

/// Reads every `password_file`: its first line.
///
/// # Errors
/// A sentence for each file that could not be used.
pub fn secrets(config: &mut Config) -> Result<(), Vec<String>> {
    config.load_secrets(|file| {
        let text = fs::read_to_string(file).map_err(|error| path(&error, "read", file, "password_file"))?;
        let password = text.lines().next().unwrap_or_default().to_owned();
        if password.is_empty() {
            return Err(format!("{} is empty: the password is its first line", file.display()));
        }
        Ok(password)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fault::exit;
    use crate::config::Secret;

    fn written(text: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("s.toml");
        fs::write(&file, text).unwrap();
        (dir, file)
    }

    #[test]
    fn a_bad_file_is_78_with_every_error() {
        let (_dir, file) = written(b"[node]\nnmae = 1\n[sip]\nt1 = 5\n");
        let fault = config(Some(&file)).unwrap_err();
        assert_eq!(fault.exit, exit::CONFIG);
        assert!(fault.message.contains("2 errors") && fault.message.contains("did you mean `name`?"), "{fault}");
        let (_dir, file) = written(b"[node]\nname = \"\xff\"\n");
        assert!(config(Some(&file)).unwrap_err().message.ends_with("s.toml:2: not UTF-8 text"));
        let absent = config(Some(Path::new("/nonexistent/x.toml"))).unwrap_err();
        assert!(absent.exit == exit::CONFIG && absent.message.contains("strowger config defaults >"), "{absent}");
    }

    #[test]
    fn passwords_come_from_files() {
        let (dir, file) = written(b"");
        let secret = dir.path().join("p");
        let text =
            format!("[[account]]\nname='a'\n[[account.device]]\nusername='a'\npassword_file='{}'\n", secret.display());
        fs::write(&file, text).unwrap();
        assert!(config(Some(&file)).unwrap_err().message.contains("`password_file` names it"));
        fs::write(&secret, "hunter2\n").unwrap();
        let config = config(Some(&file)).unwrap();
        assert_eq!(config.accounts[0].devices[0].secret, Secret::Password("hunter2".into()));
    }
}
