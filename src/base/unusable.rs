//! What this host or process cannot use, as a value: what stands in the way, and what would remove it. `strowger check`
//! says it beforehand, the log once at the start.

use std::fmt;

/// See the head of this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// What it is about: `io_uring`, `XDP`.
    pub what: &'static str,
    /// What stands in the way.
    pub reason: String,
    /// What would remove it.
    pub remedy: &'static str,
}

impl Unusable {
    /// For this reason, with that remedy.
    #[must_use]
    pub fn new(what: &'static str, reason: impl Into<String>, remedy: &'static str) -> Self {
        Self { what, reason: reason.into(), remedy }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} cannot be used: {}; {}", self.what, self.reason, self.remedy)
    }
}

impl std::error::Error for Unusable {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_sentence_with_its_remedy() {
        let unusable = Unusable::new("XDP", "there is no BPF", "run Linux 5.15 or newer");
        assert_eq!(unusable.to_string(), "XDP cannot be used: there is no BPF; run Linux 5.15 or newer");
    }
}
