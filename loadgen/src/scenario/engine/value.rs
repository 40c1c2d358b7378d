//! What variables hold, and where: in the call, in its user, or in all calls.

use std::collections::HashMap;

use crate::scenario::program::{Compare, Operand, Program};
use crate::scenario::variable::{Scope, VarId};

/// Users whose variables are kept.
const USERS_MAX: usize = 1_000_000;

/// What a variable holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Nothing: never set, or an expression that was not found.
    #[default]
    Unset,
    /// Text.
    Text(Vec<u8>),
    /// A number.
    Number(f64),
    /// A decision.
    Decision(bool),
}

impl Value {
    /// As `test=` and `condexec=` see it.
    pub fn is_set(&self) -> bool {
        !matches!(self, Self::Unset | Self::Decision(false))
    }

    /// As text; numbers with six decimals, as SIPp writes them.
    pub fn text(&self) -> Vec<u8> {
        match self {
            Self::Unset => Vec::new(),
            Self::Text(text) => text.clone(),
            Self::Number(number) => format!("{number:.6}").into_bytes(),
            Self::Decision(decision) => decision.to_string().into_bytes(),
        }
    }

    /// As a number; the number at the front of a text.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Unset => None,
            Self::Number(number) => Some(*number),
            Self::Decision(decision) => Some(f64::from(u8::from(*decision))),
            Self::Text(text) => {
                let text = String::from_utf8_lossy(text);
                let text = text.trim();
                let end = text
                    .char_indices()
                    .find(|&(at, c)| !(c.is_ascii_digit() || c == '.' || at == 0 && matches!(c, '-' | '+')));
                text[..end.map_or(text.len(), |(at, _)| at)].parse().ok()
            }
        }
    }
}

/// The variables that outlive a call.
#[derive(Debug, Default)]
pub struct Store {
    scopes: Vec<Scope>,
    global: Vec<Value>,
    users: HashMap<u64, Vec<Value>>,
}

impl Store {
    /// All unset.
    pub fn new(program: &Program) -> Self {
        let scopes: Vec<Scope> = program.variables.list.iter().map(|variable| variable.scope).collect();
        Self { global: vec![Value::Unset; scopes.len()], scopes, users: HashMap::new() }
    }

    /// How many variables a call has.
    pub fn len(&self) -> usize {
        self.scopes.len()
    }

    /// A variable of a call.
    pub fn get<'a>(&'a self, own: &'a [Value], user: u64, id: VarId) -> &'a Value {
        const UNSET: &Value = &Value::Unset;
        match self.scopes.get(id.0) {
            Some(Scope::Call) => own.get(id.0).unwrap_or(UNSET),
            Some(Scope::Global) => &self.global[id.0],
            Some(Scope::User) => self.users.get(&user).map_or(UNSET, |values| &values[id.0]),
            None => UNSET,
        }
    }

    /// Sets a variable.
    pub fn set(&mut self, own: &mut [Value], user: u64, id: VarId, value: Value) {
        let count = self.scopes.len();
        match self.scopes.get(id.0) {
            Some(Scope::Global) => self.global[id.0] = value,
            Some(Scope::User) if self.users.len() < USERS_MAX || self.users.contains_key(&user) => {
                self.users.entry(user).or_insert_with(|| vec![Value::Unset; count])[id.0] = value;
            }
            _ => {
                if let Some(place) = own.get_mut(id.0) {
                    *place = value;
                }
            }
        }
    }

    /// A number or the variable that holds it; 0 where it holds none.
    pub fn operand(&self, own: &[Value], user: u64, operand: Operand) -> f64 {
        match operand {
            Operand::Number(number) => number,
            Operand::Variable(id) => self.get(own, user, id).number().unwrap_or(0.0),
        }
    }
}

/// `compare=`.
pub fn compare(left: f64, how: Compare, right: f64) -> bool {
    match how {
        Compare::Equal => (left - right).abs() < f64::EPSILON,
        Compare::NotEqual => (left - right).abs() >= f64::EPSILON,
        Compare::Greater => left > right,
        Compare::Less => left < right,
        Compare::GreaterOrEqual => left >= right,
        Compare::LessOrEqual => left <= right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_what_is_asked_for() {
        let text = |text: &str| Value::Text(text.into());
        assert_eq!((text(" 3.5ms").number(), text("-2").number(), text("x").number()), (Some(3.5), Some(-2.0), None));
        assert_eq!((Value::Number(3.5).text(), Value::Decision(true).text()), (b"3.500000".to_vec(), b"true".to_vec()));
        assert!(Value::Decision(true).is_set() && text("").is_set() && Value::Number(0.0).is_set());
        assert!(!Value::Decision(false).is_set() && !Value::Unset.is_set());
        assert!(compare(1.0, Compare::LessOrEqual, 1.0) && !compare(1.0, Compare::NotEqual, 1.0));
    }
}
