//! Rows of JSON as a table for a person.

use serde_json::Value;

type Columns = &'static [(&'static str, &'static str)];

const BLOCKED: Columns =
    &[("source", "SOURCE"), ("state", "STATE"), ("reason", "REASON"), ("since_s", "SINCE"), ("ends_s", "ENDS IN")];

const LINKS: Columns = &[
    ("peer", "PEER"),
    ("address", "ADDRESS"),
    ("state", "STATE"),
    ("up_s", "FOR"),
    ("incarnation", "INCARNATION"),
    ("version", "VERSION"),
    ("round_trip_ms", "RTT MS"),
    ("heard_s", "HEARD"),
    ("why", "REFUSED"),
];

/// Columns of each thing that can be shown: key, heading.
fn columns(what: &str) -> Columns {
    match what {
        "calls" => &[
            ("call", "CALL"),
            ("state", "STATE"),
            ("from", "FROM"),
            ("to", "TO"),
            ("caller", "CALLER"),
            ("callee", "CALLEE"),
            ("age_s", "AGE"),
            ("packets_caller", "FROM CALLER"),
            ("path_caller", "BY"),
            ("packets_callee", "FROM CALLEE"),
            ("path_callee", "BY"),
        ],
        "registrations" => &[
            ("account", "ACCOUNT"),
            ("contact", "CONTACT"),
            ("remote", "FROM"),
            ("transport", "OVER"),
            ("expires_s", "LAPSES IN"),
            ("q", "Q"),
        ],
        "trunks" => &[
            ("name", "TRUNK"),
            ("address", "ADDRESS"),
            ("transport", "OVER"),
            ("calls", "CALLS"),
            ("calls_max", "MAX"),
            ("resting", "RESTING"),
        ],
        "shards" => &[
            ("shard", "SHARD"),
            ("calls", "CALLS"),
            ("transactions", "TRANSACTIONS"),
            ("contacts", "CONTACTS"),
            ("connections", "CONNECTIONS"),
            ("streams", "STREAMS"),
            ("ports", "PORTS"),
            ("port_pairs_free", "PAIRS FREE"),
            ("draining", "DRAINING"),
        ],
        "blocked sources" => BLOCKED,
        "limits" => &[("of", "OF"), ("name", "NAME"), ("used", "USED"), ("max", "MAX")],
        "limits of sites" => &[
            ("of", "OF"),
            ("name", "NAME"),
            ("limit", "LIMIT"),
            ("used", "USED HERE"),
            ("max", "MAX HERE"),
            ("elsewhere", "ELSEWHERE"),
            ("home", "HOME"),
            ("gap", "GAP"),
        ],
        "calls of all sites" => {
            &[("site", "SITE"), ("call", "CALL"), ("account", "ACCOUNT"), ("age_s", "AGE"), ("stale_s", "AS OF")]
        }
        _ => LINKS,
    }
}

/// The table, with its heading; one sentence when there is nothing.
#[must_use]
pub fn table(what: &str, rows: &[Value]) -> String {
    if rows.is_empty() {
        return format!("no {what}\n");
    }
    let columns = columns(what);
    let mut lines = vec![columns.iter().map(|(_, heading)| (*heading).to_owned()).collect::<Vec<_>>()];
    lines.extend(rows.iter().map(|row| columns.iter().map(|(key, _)| cell(key, &row[*key])).collect()));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        let mut text = String::new();
        for ((value, width), row_key) in line.iter().zip(&widths).zip(columns) {
            let number = rows[0][row_key.0].is_number();
            let padded = if number { format!("{value:>width$}  ") } else { format!("{value:<width$}  ") };
            text.push_str(&padded);
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

/// Control characters of a peer's text must not reach the terminal.
fn cell(key: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect(),
        Value::Bool(value) => if *value { "yes" } else { "no" }.to_owned(),
        Value::Number(number) if key.ends_with("_s") => age(number.as_f64().unwrap_or(0.0) as u64),
        other => other.to_string(),
    }
}

/// `75` → `1m15s`.
pub fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_line_up_and_numbers_stand_right() {
        let rows = [
            json!({ "name": "carrier-a", "address": "192.0.2.1:5060", "transport": "udp", "calls": 7, "calls_max": null, "resting": false }),
            json!({ "name": "b\u{1b}[2J", "address": "192.0.2.22:5060", "transport": "tcp", "calls": 1000, "calls_max": 1000, "resting": true }),
        ];
        let shown = table("trunks", &rows);
        let expected = "\
TRUNK      ADDRESS          OVER  CALLS  MAX   RESTING
carrier-a  192.0.2.1:5060   udp       7  -     no
b?[2J      192.0.2.22:5060  tcp    1000  1000  yes
";
        assert_eq!(shown, expected);
        assert_eq!(table("calls", &[]), "no calls\n");
    }

    #[test]
    fn ages_are_for_people() {
        assert_eq!((age(5), age(75), age(3_700)), ("5s".into(), "1m15s".into(), "1h01m".into()));
    }
}
