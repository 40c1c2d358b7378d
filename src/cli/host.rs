//! What this host allows: cores, descriptors, buffers, ports. Read from /proc; nothing is changed.

use std::fs;

use super::finding::Finding;
use crate::base::Transport;
use crate::config::{Config, Count};
use crate::io::limits;

/// Ports of one audio call: RTP and RTCP towards both sides.
const PORTS_PER_CALL: u64 = 4;
/// Descriptors beside sockets: files, wakers, rings, logs.
const DESCRIPTORS_OTHER: u64 = 128;

/// How many shards a setting means here.
#[must_use]
pub fn shards(count: Count) -> u8 {
    match count {
        Count::Exactly(count) => count,
        Count::Auto => {
            std::thread::available_parallelism().map_or(1, |cores| u8::try_from(cores.get().min(64)).unwrap_or(64))
        }
    }
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Host {
    cores: u64,
    /// Most descriptors; 0 = unknown.
    descriptors: u64,
    /// `net.core.rmem_max`; 0 = unknown.
    receive_buffer_max: u64,
    /// `net.ipv4.ip_local_port_range`.
    ephemeral: Option<(u16, u16)>,
    /// `net.ipv4.ip_local_reserved_ports`.
    reserved: Vec<(u16, u16)>,
}

impl Host {
    /// Reads this host.
    #[must_use]
    pub fn read() -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/sys/net/{name}")).unwrap_or_default();
        let range = read("ipv4/ip_local_port_range");
        let mut range = range.split_whitespace().filter_map(|port| port.parse().ok());
        Self {
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
            descriptors: limits::descriptors().map_or(0, |(_, most)| most),
            receive_buffer_max: read("core/rmem_max").trim().parse().unwrap_or(0),
            ephemeral: range.next().zip(range.next()),
            reserved: read("ipv4/ip_local_reserved_ports").trim().split(',').filter_map(ports).collect(),
        }
    }

    /// Compares with the configuration.
    pub fn judge(&self, config: &Config, out: &mut Vec<Finding>) {
        let shards = u64::from(shards(config.shards.count));
        let ports = u64::from(config.media.port_max - config.media.port_min) + 1;
        let mut say = |what, text: String| out.push(Finding::doubtful(what, text));
        if shards > self.cores {
            say(
                "cores",
                format!("{shards} shards on {} cores: they will take turns; lower `shards.count`", self.cores),
            );
        }
        self.descriptors(config, shards, ports, &mut say);
        let wanted = config.media.receive_buffer_bytes as u64;
        if self.receive_buffer_max > 0 && self.receive_buffer_max < wanted {
            say(
                "buffers",
                format!(
                    "receive buffers will have {} bytes, not {wanted}: net.core.rmem_max caps them; `tuning/strowger-tune apply` raises it",
                    self.receive_buffer_max
                ),
            );
        }
        self.ephemeral(config, &mut say);
        let calls = ports / PORTS_PER_CALL;
        out.push(Finding::good("media", format!("{ports} ports: room for {calls} audio calls at once")));
    }

    fn descriptors(&self, config: &Config, shards: u64, ports: u64, say: &mut impl FnMut(&'static str, String)) {
        let families = 1 + u64::from(config.media.address_v6.is_some());
        let listeners = config.sip.listen.len() as u64 * shards;
        let has_tcp = config.sip.listen.iter().any(|listen| listen.transport != Transport::Udp);
        let connections = if has_tcp { u64::from(config.shards.connections_max) * shards } else { 0 };
        let needed = ports * families + listeners + connections + DESCRIPTORS_OTHER;
        if self.descriptors == 0 || self.descriptors >= needed {
            return;
        }
        say(
            "descriptors",
            format!(
                "{} allowed, but {needed} are needed when every port and connection is used: calls will be refused before that; raise LimitNOFILE= in the unit, or `ulimit -n`",
                self.descriptors
            ),
        );
    }

    /// Ports that the kernel may hand to others first.
    fn ephemeral(&self, config: &Config, say: &mut impl FnMut(&'static str, String)) {
        let (low, high) = (config.media.port_min, config.media.port_max);
        let Some((from, to)) = self.ephemeral.filter(|&(from, to)| from <= high && low <= to) else { return };
        let covered = self.reserved.iter().any(|&(first, last)| first <= low.max(from) && last >= high.min(to));
        if !covered {
            say(
                "ports",
                format!(
                    "media ports {low}-{high} overlap those that the kernel gives to outgoing connections ({from}-{to}): some may be taken; `sysctl net.ipv4.ip_local_reserved_ports={low}-{high}` keeps them free"
                ),
            );
        }
    }
}

/// `1-5` or `7`.
fn ports(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.parse().ok()?, last.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(host: &Host) -> Vec<&'static str> {
        let mut out = Vec::new();
        host.judge(&Config::default(), &mut out);
        out.iter().filter(|finding| finding.what != "media").map(|finding| finding.what).collect()
    }

    #[test]
    fn a_small_host_hears_what_to_raise() {
        let small = Host {
            cores: 64,
            descriptors: 1024,
            receive_buffer_max: 212_992,
            ephemeral: Some((32_768, 60_999)),
            reserved: Vec::new(),
        };
        assert_eq!(said(&small), ["descriptors", "buffers", "ports"]);
        let reserved = ["30000-39999", "x"].into_iter().filter_map(ports).collect();
        let tuned = Host { receive_buffer_max: 1 << 24, reserved, ..small };
        assert_eq!(said(&tuned), ["descriptors"]);
    }
}
