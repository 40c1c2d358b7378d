//! The one TOML file: one row per setting, every error at once with its place, no key silently ignored.
//!
//! Pure: text in, a checked [`Config`] or diagnostics out. Reading files (the configuration itself, `password_file`)
//! is the caller's part.
#![forbid(unsafe_code)]

mod build;
mod check;
mod cross;
mod diagnostic;
pub mod diff;
mod model;
pub mod net;
pub mod print;
mod reader;
pub mod row;
pub mod rows;
mod sites;
#[cfg(test)]
mod tests;
pub mod value;

pub use diagnostic::{Diagnostic, Severity};
pub use diff::{Change, diff};
pub use model::*;
pub use net::Net;

use reader::Reader;
use toml::de::DeTable;

/// What a file says.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The configuration, when nothing is wrong.
    pub config: Option<Config>,
    /// Everything that is wrong, by place; bounded.
    pub errors: Vec<Diagnostic>,
    /// What deserves a look: settings without effect, probable slips.
    pub notes: Vec<Diagnostic>,
    /// Errors beyond the bound of `errors`.
    pub more: usize,
    /// `control.socket` as far as it could be read, errors elsewhere or not: where a running appliance may be asked.
    pub socket: std::path::PathBuf,
}

/// Reads a configuration with its notes. `file` only names it in diagnostics.
#[must_use]
pub fn read(text: &str, file: &str) -> Outcome {
    let (table, syntax) = DeTable::parse_recoverable(text);
    let mut reader = Reader::new(text, file);
    for error in syntax {
        reader.error(error.span().unwrap_or(0..0), error.message(), "here");
    }
    let root = reader.root(table.get_ref());
    let mut config = build::build(&mut reader, &root);
    if reader.errors.is_empty() {
        cross::whole(&mut reader, &root, &config);
        sites::sites(&mut reader, &root, &config);
    }
    config.values = std::mem::take(&mut reader.values);
    let Reader { mut errors, mut notes, uncounted, .. } = reader;
    errors.sort_by_key(|error| error.span.start);
    notes.sort_by_key(|note| note.span.start);
    let socket = config.control.socket.clone();
    Outcome { socket, config: errors.is_empty().then_some(config), errors, notes, more: uncounted }
}

/// Reads a configuration.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, file: &str) -> Result<Config, Vec<Diagnostic>> {
    let outcome = read(text, file);
    outcome.config.ok_or(outcome.errors)
}

impl Default for Config {
    /// What an empty file means: everything on 127.0.0.1.
    fn default() -> Self {
        parse("", "defaults").unwrap_or_else(|errors| panic!("an empty file is a configuration: {errors:?}"))
    }
}

impl Config {
    /// Replaces every [`Secret::File`] by the password that `load` finds there.
    ///
    /// # Errors
    /// What `load` says, for each file that it could not read.
    pub fn load_secrets<E>(
        &mut self,
        mut load: impl FnMut(&std::path::Path) -> Result<String, E>,
    ) -> Result<(), Vec<E>> {
        let devices =
            self.accounts.iter_mut().flat_map(|account| &mut account.devices).map(|device| &mut device.secret);
        let logins = self.trunks.iter_mut().filter_map(|trunk| trunk.login.as_mut()).map(|login| &mut login.secret);
        let mut errors = Vec::new();
        for secret in devices.chain(logins) {
            let Secret::File(path) = &*secret else { continue };
            match load(path) {
                Ok(password) => *secret = Secret::Password(password),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}
