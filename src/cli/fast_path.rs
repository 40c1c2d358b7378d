//! The fast path of an appliance: what its settings ask for, what the host can give, and a table for each shard.
//!
//! `auto` takes what there is and says once why it is less than native; `xdp` refuses to start without; `off` asks for
//! nothing. `strowger check` says the same beforehand.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::finding::{Finding, Weight};
use crate::base::Unusable;
use crate::config::{Config, FastPath as Wanted, Media};
use crate::media::{FastPath, RelayConfig};
use crate::xdp::hops::Neighbour;
use crate::xdp::{self, Fit, Foreseen, Left, Slice, Xdp, XdpOptions};

/// What a node has of it. The program stays attached while this lives.
#[derive(Debug)]
pub struct Below {
    xdp: Option<Xdp>,
    name: &'static str,
    dead_man: Duration,
}

impl Below {
    /// `xdp`, `xdp-generic`, `none` or `off`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What another process would take on, where there is any.
    #[must_use]
    pub const fn xdp(&self) -> Option<&Xdp> {
        self.xdp.as_ref()
    }

    /// Whose the rows of the hop table are that a process before has left to us.
    pub fn take_rows(&self, neighbours: Vec<Neighbour>) {
        if let Some(xdp) = &self.xdp {
            xdp.take_rows(neighbours);
        }
    }

    /// The process before has given its word: what it has left is ours.
    pub fn settle(&mut self) {
        if let Some(Err(reason)) = self.xdp.as_mut().map(Xdp::settle) {
            tracing::error!(%reason, "the relay in the kernel was lost: all media goes through the sockets until the next restart");
        }
    }

    /// For so long media may go on without its process, here or at another site with the same settings.
    #[must_use]
    pub const fn dead_man(&self) -> Duration {
        self.dead_man
    }

    /// The part of the shard that has this relay. One of them tells the node's totals.
    #[must_use]
    pub fn table(&self, relay: &RelayConfig, tells_totals: bool) -> Option<Box<dyn FastPath>> {
        let RelayConfig { socket_base, port_min, port_max, .. } = *relay;
        let table = self.xdp.as_ref()?.shard(Slice { socket_base, port_min, port_max, tells_totals });
        Some(Box::new(table))
    }
}

/// Attaches what the configuration asks for. To be called while the process has its capabilities, and before its threads.
///
/// # Errors
/// `fast_path = "xdp"`, and it cannot be had.
pub fn start(config: &Config) -> Result<Below, Fault> {
    if config.media.fast_path == Wanted::Off {
        return Ok(Below { xdp: None, name: "off", dead_man: Duration::ZERO });
    }
    below(config, Xdp::start(&options(&config.media)))
}

fn below(config: &Config, xdp: Result<Xdp, Unusable>) -> Result<Below, Fault> {
    // Also where this node has none: what it lends may be used by one that has.
    let dead_man = config.media.fast_path_dead_man;
    match xdp {
        Ok(xdp) => {
            for warning in xdp.warnings() {
                tracing::warn!(reason = %warning, "the fast path is less than it might be");
            }
            tracing::info!(devices = %xdp.devices().join(", "), mode = xdp.name(), "settled streams are relayed in the kernel");
            let name = xdp.name();
            Ok(Below { xdp: Some(xdp), name, dead_man })
        }
        Err(why) if config.media.fast_path == Wanted::Xdp => Err(Fault::runtime(format!(
            "media.fast_path = \"xdp\" cannot be had: {}.\n  Remedy: {}; or set media.fast_path = \"auto\"",
            why.reason, why.remedy
        ))),
        Err(why) if is_local(&config.media) => {
            tracing::info!(reason = %why.reason, "all media goes through the sockets");
            Ok(Below { xdp: None, name: "none", dead_man })
        }
        Err(why) => {
            tracing::warn!(reason = %why.reason, remedy = why.remedy, "all media goes through the sockets");
            Ok(Below { xdp: None, name: "none", dead_man })
        }
    }
}

/// What becomes of the fast path of the process that is taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// It ends with its process, if it has one.
    #[default]
    End,
    /// We go on with it as it is: rules stay in.
    Adopt,
    /// Its links get our program: every stream comes up first.
    Replace,
}

/// In a take-over: goes on with the program in the kernel where the process before has one that fits. To be called like
/// [`start`].
///
/// # Errors
/// `fast_path = "xdp"`, and it cannot be had.
pub fn take_over(config: &Config, left: Option<Left>) -> Result<(Below, Wish), Fault> {
    let Some(left) = left.filter(|_| config.media.fast_path != Wanted::Off) else {
        return start(config).map(|below| (below, Wish::End));
    };
    let options = options(&config.media);
    let (fit, xdp) = match left.inventory.fit(&options) {
        Ok(Fit::OtherDevices(reason)) => {
            let why = Unusable::new("XDP", reason, "set media.fast_path_devices as it was, or drain and restart");
            (Fit::OtherProgram, Err(why))
        }
        Ok(fit) => (fit.clone(), Xdp::inherit(&options, left, &fit)),
        Err(why) => (Fit::OtherProgram, Err(why)),
    };
    let below = below(config, xdp)?;
    let wish = match fit {
        _ if below.xdp.is_none() => Wish::End,
        Fit::Same => Wish::Adopt,
        _ => Wish::Replace,
    };
    if wish == Wish::Replace {
        tracing::info!("the running process has another program or other numbers in it: streams come up for a moment");
    }
    Ok((below, wish))
}

/// What `strowger check` says. The program is loaded and attached to nothing.
#[must_use]
pub fn findings(config: &Config) -> Finding {
    const WHAT: &str = "fast path";
    let wanted = config.media.fast_path;
    if wanted == Wanted::Off {
        return Finding::good(WHAT, "off, as configured: media goes through the shards");
    }
    match xdp::probe(&options(&config.media)) {
        Ok(Foreseen { devices, warnings }) => {
            let devices = devices.join(", ");
            let but: String = warnings.iter().map(|warning| format!("; {warning}")).collect();
            let weight = if but.is_empty() { Weight::Good } else { Weight::Doubtful };
            let text = format!("settled streams are relayed in the kernel, on {devices}{but}");
            Finding { what: WHAT, weight, text }
        }
        Err(why) => {
            let weight = match wanted {
                Wanted::Xdp => Weight::Fatal,
                _ if is_local(&config.media) => Weight::Good,
                _ => Weight::Doubtful,
            };
            let text = format!("none, media goes through the shards: {}; remedy: {}", why.reason, why.remedy);
            Finding { what: WHAT, weight, text }
        }
    }
}

/// Nothing is to be done about it, and nothing is lost.
fn is_local(media: &Media) -> bool {
    media.address.is_loopback() && media.address_v6.is_none_or(|address| address.is_loopback())
}

fn options(media: &Media) -> XdpOptions {
    let addresses = [Some(media.address), media.address_v6];
    let mut options = XdpOptions {
        v4: None,
        v6: None,
        port_min: media.port_min,
        port_max: media.port_max,
        devices: media.fast_path_devices.clone(),
        dead_man: media.fast_path_dead_man,
        pin: media.fast_path_pin.clone(),
    };
    for address in addresses.into_iter().flatten() {
        match address {
            IpAddr::V4(address) => options.v4 = Some(address),
            IpAddr::V6(address) => options.v6 = Some(address),
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(fast_path: Wanted) -> Config {
        let mut config = Config::default();
        config.media.fast_path = fast_path;
        config.media.address = [127, 0, 0, 1].into();
        config
    }

    #[test]
    fn nothing_is_asked_for_where_it_is_off() {
        let below = start(&config(Wanted::Off)).expect("nothing to fail");
        assert_eq!((below.name(), below.dead_man()), ("off", Duration::ZERO));
        assert!(below.table(&RelayConfig::new([127, 0, 0, 1].into(), 30_000, 30_019), true).is_none());
    }

    #[test]
    fn loopback_alone_has_none_and_only_xdp_makes_a_fault_of_it() {
        assert_eq!(start(&config(Wanted::Auto)).expect("auto goes on").name(), "none");
        let fault = start(&config(Wanted::Xdp)).expect_err("xdp does not");
        assert!(fault.message.contains("Remedy: "), "{}", fault.message);
        assert_eq!(findings(&config(Wanted::Xdp)).weight, Weight::Fatal);
        assert_eq!(findings(&config(Wanted::Auto)).weight, Weight::Good, "nothing is to be done about it");
    }
}
