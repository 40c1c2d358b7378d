//! What the relay is to be, and the numbers of the program that follow from it.

use super::layout::Constants;
use crate::base::time::Duration;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// What the relay is to be.
#[derive(Clone, Debug)]
pub struct XdpOptions {
    /// Where media sockets are bound.
    pub v4: Option<Ipv4Addr>,
    /// The same.
    pub v6: Option<Ipv6Addr>,
    /// Of all shards.
    pub port_min: u16,
    /// The last.
    pub port_max: u16,
    /// By name; empty = those that own the addresses.
    pub devices: Vec<String>,
    /// Rules end so long after the last sweep of their shard.
    pub dead_man: Duration,
    /// A folder of our own under a BPF file system, where links outlive the process.
    pub pin: Option<PathBuf>,
}

impl XdpOptions {
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6)).collect()
    }

    pub(super) fn constants(&self) -> Constants {
        let v6 = self.v6.unwrap_or(Ipv6Addr::UNSPECIFIED).octets();
        let (mut v6_prefix, mut v6_last) = ([0; 12], [0; 4]);
        v6_prefix.copy_from_slice(&v6[..12]);
        v6_last.copy_from_slice(&v6[12..]);
        let first = u32::from(self.port_min).next_multiple_of(2);
        Constants {
            v4_base: self.v4.map_or(0, Into::into),
            v4_count: self.v4.is_some().into(),
            v6_prefix,
            v6_base: u32::from_be_bytes(v6_last),
            v6_count: self.v6.is_some().into(),
            port_min: u16::try_from(first).unwrap_or(u16::MAX - 1),
            pairs: (u32::from(self.port_max) + 1).saturating_sub(first) / 2,
            cpus: cpus(),
        }
    }
}

/// CPUs that may ever run the program.
fn cpus() -> u32 {
    let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = possible.trim().rsplit(['-', ',']).next().and_then(|last| last.parse::<u32>().ok());
    last.map_or(1024, |last| last + 1)
}
