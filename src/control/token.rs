//! The admin token: made at first start, readable by its owner only.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use subtle::ConstantTimeEq;

/// What stood there.
#[derive(Debug, PartialEq, Eq)]
pub enum Token {
    /// Made just now.
    Made,
    /// Was there.
    Found,
    /// Was there, and others may read it.
    Exposed,
}

/// The token in memory; never shown, and compared in constant time.
#[derive(Default)]
pub struct Bearer(Vec<u8>);

impl fmt::Debug for Bearer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Bearer(…)")
    }
}

impl Bearer {
    /// This token; an empty one opens to nobody.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self(token.trim().as_bytes().to_vec())
    }

    /// Reads the first line of the file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn load(path: &Path) -> io::Result<Self> {
        Ok(Self::new(fs::read_to_string(path)?.lines().next().unwrap_or_default()))
    }

    /// True for the token.
    #[must_use]
    pub fn is(&self, token: &str) -> bool {
        !self.0.is_empty() && bool::from(self.0.ct_eq(token.as_bytes()))
    }
}

/// Makes the token unless it is there.
///
/// # Errors
/// The folder is missing or not writable, or the kernel has no randomness.
pub fn ensure(path: &Path) -> io::Result<Token> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let mut bytes = [0u8; 32];
            getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
            let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(file, "{text}")?;
            file.sync_all()?;
            Ok(Token::Made)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let others = fs::metadata(path)?.permissions().mode() & 0o077;
            Ok(if others == 0 { Token::Found } else { Token::Exposed })
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.token");
        assert_eq!(ensure(&path).unwrap(), Token::Made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.trim().len(), 64);
        assert_eq!(ensure(&path).unwrap(), Token::Found);
        let bearer = Bearer::load(&path).unwrap();
        assert!(bearer.is(text.trim()) && !bearer.is("") && !bearer.is(&text));
        assert!(!Bearer::new("").is(""));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(ensure(&path).unwrap(), Token::Exposed);
        assert!(ensure(&dir.path().join("missing/admin.token")).is_err());
    }
}
