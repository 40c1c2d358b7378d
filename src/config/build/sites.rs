//! `[limits]` and `[link]`: how limits hold over several sites, and the other sites.

use crate::config::model::{LimitMode, LimitPolicy, Limits, Link, Peer};
use crate::config::reader::{Place, Reader};

pub(super) fn limits<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>) -> Limits {
    let table = reader.table(root, "limits");
    let allowance = reader.get(&table, "mode").text() == "allowance";
    let drops = reader.get(&table, "policy").text() == "drop";
    let numbers = reader.get(&table, "emergency_numbers").texts();
    Limits {
        mode: if allowance { LimitMode::Allowance } else { LimitMode::Strict },
        allowance: reader.get(&table, "allowance").integer(),
        default_max_calls: reader.get(&table, "default_max_calls").integer(),
        home: reader.get(&table, "home").text_if_any(),
        policy: if drops { LimitPolicy::Drop } else { LimitPolicy::Keep },
        lease: reader.get(&table, "lease").span(),
        max_call_duration: reader.get(&table, "max_call_duration").span(),
        clock_drift_ppm: reader.get(&table, "clock_drift").integer(),
        borrow_timeout: reader.get(&table, "borrow_timeout").span(),
        count_called: reader.get(&table, "count_called").bool(),
        emergency_numbers: numbers.into_iter().map(|(number, _)| number).collect(),
    }
}

pub(super) fn link<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>) -> Option<Link> {
    let table = reader.table(root, "link");
    let mut peers = Vec::new();
    for place in reader.list(&table, "link.peer") {
        peers.push(Peer { name: reader.get(&place, "name").text(), address: reader.get(&place, "address").socket() });
    }
    let link = Link {
        listen: reader.get(&table, "listen").socket(),
        certificate_file: reader.get(&table, "certificate_file").text().into(),
        key_file: reader.get(&table, "key_file").text().into(),
        ca_file: reader.get(&table, "ca_file").text().into(),
        peers,
    };
    table.is_written().then_some(link)
}
