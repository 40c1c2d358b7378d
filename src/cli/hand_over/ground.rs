//! What both processes must say alike: settings and values, by which sockets and names in the snapshot mean the same.

use std::collections::BTreeMap;

use serde_json::Value;

use super::FORMAT;
use crate::cli::{host, sites};
use crate::config::{Config, LimitMode, LimitPolicy, Link};

/// Of one process.
pub(super) fn ground(config: &Config) -> BTreeMap<&'static str, String> {
    let listen = config.sip.listen.iter().map(|listen| format!("{} {}", listen.transport.uri_token(), listen.address));
    let v6 = config.media.address_v6.map_or_else(|| "none".to_owned(), |address| address.to_string());
    let mut ground = BTreeMap::from([
        ("shards.count", host::shards(config.shards.count).to_string()),
        ("sip.listen", listen.collect::<Vec<_>>().join(", ")),
        ("media.address", config.media.address.to_string()),
        ("media.address_v6", v6),
        ("media.port_min and port_max", format!("{}-{}", config.media.port_min, config.media.port_max)),
        ("control.listen", config.control.listen.to_string()),
    ]);
    if let Some(link) = sites::link(config) {
        ground.extend(linked(config, link));
    }
    ground
}

/// Other sites wait for what this one has lent and borrowed by these, and each calls this one by its name.
fn linked(config: &Config, link: &Link) -> [(&'static str, String); 9] {
    let limits = &config.limits;
    let mut peers: Vec<_> = link.peers.iter().map(|peer| peer.name.as_str()).collect();
    peers.sort_unstable();
    let mode = match limits.mode {
        LimitMode::Strict => "strict".to_owned(),
        LimitMode::Allowance => format!("allowance of {}", limits.allowance),
    };
    [
        ("node.name", config.node.name.clone()),
        ("link.listen", link.listen.to_string()),
        ("link.peer.name", peers.join(", ")),
        ("limits.home", limits.home.clone().unwrap_or_default()),
        ("limits.mode", mode),
        ("limits.policy", if limits.policy == LimitPolicy::Drop { "drop" } else { "keep" }.to_owned()),
        ("limits.lease", format!("{} s", limits.lease.as_secs())),
        ("limits.max_call_duration", format!("{} s", limits.max_call_duration.as_secs())),
        ("limits.clock_drift", format!("{} ppm", limits.clock_drift_ppm)),
    ]
}

/// Why the two do not go together. What only the new one names is its own to judge: it hears whether this one is linked.
pub(super) fn misfit(asked: &Value, config: &Config) -> Option<String> {
    if asked["format"] != FORMAT {
        let (theirs, version) = (&asked["format"], asked["version"].as_str().unwrap_or("of an unknown version"));
        return Some(format!(
            "strowger {version} reads snapshots of format {theirs}, this one ({}) writes format {FORMAT}: drain and restart",
            env!("CARGO_PKG_VERSION")
        ));
    }
    if sites::link(config).is_some() && asked["ground"]["link.peer.name"].is_null() {
        return Some(sites::OTHERWISE_LINKED.to_owned());
    }
    let differs = |(name, ours): &(&str, String)| asked["ground"][*name].as_str() != Some(ours.as_str());
    ground(config).into_iter().find(differs).map(|(name, ours)| {
        let theirs = asked["ground"][name].as_str().unwrap_or("not said");
        format!("{name} is {ours} in the running process and {theirs} in the new one's configuration: it cannot change while calls are up; set it back, or drain and restart")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(config: &Config) -> Value {
        json!({ "format": FORMAT, "version": "0.0.0", "ground": ground(config) })
    }

    fn linked(changed: &str, to: &str) -> Config {
        let text = "[node]\nname = 'phx-1'\n[limits]\nhome = 'lon-1'\nlease = '30s'\npolicy = 'keep'\nborrow_timeout = '400ms'\n\
                    [link]\nlisten = '127.0.0.1:7420'\ncertificate_file = 'a'\nkey_file = 'b'\nca_file = 'c'\n\
                    [[link.peer]]\nname = 'lon-1'\naddress = '192.0.2.20:7420'\n\
                    [[link.peer]]\nname = 'syd-1'\naddress = '192.0.2.30:7420'\n";
        assert!(text.contains(changed));
        crate::config::parse(&text.replace(changed, to), "t").unwrap()
    }

    #[test]
    fn what_other_sites_wait_by_is_the_same_in_both_processes() {
        let running = linked("", "");
        assert_eq!(misfit(&asked(&running), &running), None);
        for (changed, to, named) in [
            (
                "name = 'phx-1'\n[limits]",
                "name = 'phx-2'\n[limits]",
                "node.name is phx-1 in the running process and phx-2",
            ),
            ("lease = '30s'", "lease = '31s'", "limits.lease is 30 s in the running process and 31 s"),
            ("policy = 'keep'", "policy = 'drop'", "limits.policy is keep in the running process and drop"),
            ("'lon-1'", "'fra-1'", "limits.home is lon-1 in the running process and fra-1"),
            ("'syd-1'", "'fra-1'", "link.peer.name is lon-1, syd-1 in the running process and fra-1, lon-1"),
            ("7420'\ncert", "7421'\ncert", "link.listen is 127.0.0.1:7420 in the running process and 127.0.0.1:7421"),
        ] {
            let why = misfit(&asked(&linked(changed, to)), &running).unwrap();
            assert!(why.starts_with(named) && why.contains("set it back, or drain and restart"), "{why}");
        }
        for (changed, to) in [("400ms", "300ms"), ("192.0.2.20", "192.0.2.21"), ("'c'", "'d'")] {
            assert_eq!(misfit(&asked(&linked(changed, to)), &running), None, "its own affair: {changed}");
        }
    }

    #[test]
    fn a_site_does_not_become_alone_nor_the_other_way_round() {
        let (running, alone) = (linked("", ""), crate::config::parse("", "t").unwrap());
        let why = misfit(&json!({ "format": FORMAT, "ground": {} }), &running).unwrap();
        assert_eq!(why, sites::OTHERWISE_LINKED);
        // The other way round the new process hears it, and goes no further.
        assert!(!ground(&alone).contains_key("link.peer.name"));
    }
}
