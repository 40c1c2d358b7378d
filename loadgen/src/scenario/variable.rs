//! A scenario's variables: their names, where each lives, and which of them may be slips.

use super::problem::instead;

/// A variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VarId(pub usize);

/// Where a variable lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In each call.
    Call,
    /// In each user, over calls.
    User,
    /// In all calls.
    Global,
}

/// One variable's name and place.
#[derive(Clone, Debug)]
pub struct Variable {
    /// As the scenario writes it.
    pub name: String,
    /// Where it lives.
    pub scope: Scope,
    /// How often the scenario sets or reads it.
    pub uses: usize,
    read: bool,
}

/// All variables of a scenario.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    /// By number.
    pub list: Vec<Variable>,
}

impl Variables {
    /// Whether a name can be one.
    pub fn check(name: &str) -> Result<&str, String> {
        let fits =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        fits.then_some(name).ok_or_else(|| format!("'{name}' is no name of a variable: use letters, digits, _ . -"))
    }

    /// The number of a name.
    pub fn id(&mut self, name: &str) -> VarId {
        let found = self.list.iter().position(|variable| variable.name == name);
        VarId(found.unwrap_or_else(|| {
            self.list.push(Variable { name: name.to_string(), scope: Scope::Call, uses: 0, read: false });
            self.list.len() - 1
        }))
    }

    /// The number of a name that is set here.
    pub fn set(&mut self, name: &str) -> VarId {
        let id = self.id(name);
        self.list[id.0].uses += 1;
        id
    }

    /// The number of a name that is read here.
    pub fn read(&mut self, name: &str) -> VarId {
        let id = self.set(name);
        self.list[id.0].read = true;
        id
    }

    /// Names used once: SIPp refuses them as likely slips; a `Reference` says that it is meant.
    pub fn used_once(&self) -> impl Iterator<Item = String> + '_ {
        self.list.iter().filter(|variable| variable.uses == 1).map(|variable| {
            let others: Vec<&str> =
                self.list.iter().filter(|other| other.name != variable.name).map(|other| other.name.as_str()).collect();
            let meant = instead(&variable.name, &others);
            let meant = if meant.starts_with("; did") { meant } else { String::new() };
            let what = if variable.read { "read but never set" } else { "set but never read" };
            let name = &variable.name;
            format!("variable {name} is {what}{meant} (<Reference variables=\"{name}\"/> says that it is meant)")
        })
    }
}
