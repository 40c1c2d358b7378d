//! The answers of `strowger show`, as JSON. Ages instead of instants: they mean something to a person.

use serde_json::{Value, json};

use super::state::{Answers, State};
use crate::base::Instant;
use crate::observe::{Gauge, MediaPath};
use crate::shard::mailbox::{Answer, Query};

/// What `show` can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Live calls.
    Calls,
    /// Registered contacts.
    Registrations,
    /// Trunks.
    Trunks,
    /// The shards' own figures.
    Shards,
    /// Limits and what is used of them.
    Limits,
    /// Links to other sites.
    Links,
    /// Sources that are blocked or muted.
    Blocked,
}

/// Most rows of one answer, over all shards.
pub const ROWS_MAX: usize = 10_000;

impl What {
    /// Reads a word of the command line.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "calls" => Self::Calls,
            "registrations" => Self::Registrations,
            "trunks" => Self::Trunks,
            "shards" => Self::Shards,
            "limits" => Self::Limits,
            "links" => Self::Links,
            "blocked" => Self::Blocked,
            _ => return None,
        })
    }
}

/// Asks the shards and makes rows. Blocks: not for the runtime's thread.
#[must_use]
pub fn show(state: &State, what: What, limit: usize) -> Value {
    let limit = limit.clamp(1, ROWS_MAX);
    let query = match what {
        What::Calls => Query::Calls { limit: limit + 1 },
        What::Registrations => Query::Registrations { limit: limit + 1 },
        What::Trunks => Query::Trunks,
        What::Limits => Query::Limits { limit: limit + 1 },
        What::Shards => Query::Shard,
        What::Blocked => Query::Blocked { limit: limit + 1 },
        // Asked of the keeper; without one there are no links.
        What::Links => return json!({ "rows": [], "cut": false, "shards_missing": 0 }),
    };
    let Answers { answers, missing } = if matches!(what, What::Trunks | What::Limits | What::Blocked) {
        state.ask_any(query)
    } else {
        state.ask(query)
    };
    let mut rows: Vec<Value> = answers.into_iter().flat_map(|answer| rows(state, answer)).collect();
    if what == What::Shards {
        rows.sort_by_key(|row| row["shard"].as_u64());
    }
    let cut = rows.len() > limit;
    rows.truncate(limit);
    json!({ "rows": rows, "cut": cut, "shards_missing": missing })
}

fn rows(state: &State, answer: Answer) -> Vec<Value> {
    let now = state.clock.now();
    let age = |at: Instant| (now.since(at).as_millis() as f64 / 1e3).round();
    match answer {
        Answer::Calls(calls) => calls
            .into_iter()
            .map(|call| {
                json!({
                    "call": call.call.to_string(), "state": call.state, "from": call.from, "to": call.to,
                    "caller": call.caller, "callee": call.callee, "age_s": age(call.started),
                    "answered_s": call.answered.map(age), "packets_caller": call.packets.0,
                    "packets_callee": call.packets.1,
                    "path_caller": call.paths.0.map(MediaPath::as_str),
                    "path_callee": call.paths.1.map(MediaPath::as_str),
                })
            })
            .collect(),
        Answer::Registrations(contacts) => contacts
            .into_iter()
            .map(|contact| {
                json!({
                    "account": contact.account, "contact": contact.contact, "remote": contact.remote.to_string(),
                    "transport": contact.transport, "expires_s": contact.expires.since(now).as_secs(),
                    "q": f64::from(contact.q) / 1e3,
                })
            })
            .collect(),
        Answer::Limits(limits) => limits.into_iter().filter_map(|limit| serde_json::to_value(limit).ok()).collect(),
        Answer::Trunks(trunks) => trunks.into_iter().filter_map(|trunk| serde_json::to_value(trunk).ok()).collect(),
        Answer::Shard(shard) => {
            let index = usize::from(shard.shard);
            let mut row = serde_json::to_value(shard).unwrap_or_default();
            if let (Some(cells), Some(row)) = (state.counters.get(index), row.as_object_mut()) {
                row.insert("port_pairs_free".into(), cells.level(Gauge::PortPairsFree).into());
            }
            vec![row]
        }
        Answer::Blocked(sources) => sources
            .into_iter()
            .map(|row| {
                json!({
                    "source": row.source, "state": row.state, "reason": row.reason, "since_s": age(row.since),
                    "ends_s": row.until.since(now).as_secs(),
                })
            })
            .collect(),
        Answer::Hangup { .. } | Answer::Unblock { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::state;
    use super::*;

    #[test]
    fn shards_come_in_order_and_trunks_once() {
        let (state, _requests) = state();
        let shown = show(&state, What::Shards, 10);
        assert_eq!((shown["rows"][0]["shard"].as_u64(), shown["rows"][1]["shard"].as_u64()), (Some(0), Some(1)));
        let shown = show(&state, What::Trunks, 10);
        assert_eq!((shown["rows"].as_array().map(Vec::len), shown["shards_missing"].as_u64()), (Some(1), Some(0)));
    }
}
