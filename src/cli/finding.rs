//! What `strowger check` finds about a host, whoever looked.

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// As it should be.
    Good,
    /// The appliance runs, but something is worse than it might be.
    Doubtful,
    /// It keeps the appliance from running.
    Fatal,
}

impl Weight {
    /// At the beginning of its line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Doubtful => "warn",
            Self::Fatal => "ERROR",
        }
    }
}

/// One finding about the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// How much it matters.
    pub weight: Weight,
    /// For a person.
    pub text: String,
}

impl Finding {
    /// As it should be.
    #[must_use]
    pub fn good(what: &'static str, text: impl Into<String>) -> Self {
        Self { what, weight: Weight::Good, text: text.into() }
    }

    /// Worse than it might be.
    #[must_use]
    pub fn doubtful(what: &'static str, text: impl Into<String>) -> Self {
        Self { what, weight: Weight::Doubtful, text: text.into() }
    }

    /// It keeps the appliance from running.
    #[must_use]
    pub fn fatal(what: &'static str, text: impl Into<String>) -> Self {
        Self { what, weight: Weight::Fatal, text: text.into() }
    }
}
