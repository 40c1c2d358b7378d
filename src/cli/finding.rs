//! What `strowger check` finds about a host, whoever looked.

/// One finding about the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// It would keep the appliance from running.
    pub fatal: bool,
    /// For a person.
    pub text: String,
}
