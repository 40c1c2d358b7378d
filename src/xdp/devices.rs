//! Which devices frames for our media addresses come by.

use super::netlink::{Message, Netlink, address, attributes, kind, word};
use super::probe::no_xdp;
use crate::base::Unusable;
use std::collections::BTreeMap;
use std::io::Result;
use std::net::IpAddr;

/// A device as the kernel lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Octets of IP that it carries.
    pub mtu: u32,
    /// `"veth"`, `"vlan"`, `"bond"`; empty for hardware.
    pub kind: String,
    is_loopback: bool,
    is_ethernet: bool,
    /// What a VLAN is upon.
    parent: Option<u32>,
    addresses: Vec<IpAddr>,
}

/// All devices with their addresses.
///
/// # Errors
/// The kernel's.
pub fn list() -> Result<Vec<Device>> {
    let mut netlink = Netlink::asking()?;
    let mut devices = BTreeMap::new();
    netlink.dump(kind::GET_LINK, &[0; 16], &mut |message| {
        if let Some(device) = device_of(message) {
            devices.insert(device.ifindex, device);
        }
    })?;
    netlink.dump(kind::GET_ADDRESS, &[0; 8], &mut |message| {
        let Some((ifindex, address)) = address_of(message) else { return };
        if let Some(device) = devices.get_mut(&ifindex) {
            device.addresses.push(address);
        }
    })?;
    Ok(devices.into_values().collect())
}

fn device_of(message: Message<'_>) -> Option<Device> {
    const LOOPBACK: u32 = 8;
    const ETHERNET: u16 = 1;
    let body = message.body;
    let mut device = Device {
        ifindex: word(body, 4)?,
        is_loopback: word(body, 8)? & LOOPBACK != 0,
        is_ethernet: super::netlink::half(body, 2)? == ETHERNET,
        ..Device::default()
    };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            3 => device.name = text(value),
            4 => device.mtu = word(value, 0)?,
            5 => device.parent = word(value, 0),
            18 => {
                let found = attributes(value).find(|(kind, _)| *kind == 1);
                device.kind = found.map(|(_, value)| text(value)).unwrap_or_default();
            }
            _ => {}
        }
    }
    Some(device)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

fn address_of(message: Message<'_>) -> Option<(u32, IpAddr)> {
    let (mut local, mut any) = (None, None);
    for (kind, value) in attributes(message.body.get(8..)?) {
        match kind {
            1 => any = address(value),
            2 => local = address(value),
            _ => {}
        }
    }
    Some((word(message.body, 4)?, local.or(any)?))
}

/// The devices to attach to: those named, or those that own our addresses; a VLAN's frames come by its parent.
///
/// # Errors
/// The reason why none is left.
pub fn choose(all: &[Device], names: &[String], ours: &[IpAddr]) -> std::result::Result<Vec<Device>, Unusable> {
    let mut chosen: Vec<&Device> = Vec::new();
    if names.is_empty() {
        for address in ours {
            let owner = all.iter().find(|device| device.addresses.contains(address)).ok_or_else(|| {
                no_xdp(
                    format!("no device has the media address {address}"),
                    "give the address to a device, or name the devices that its frames come by",
                )
            })?;
            chosen.push(owner);
        }
    } else {
        for name in names {
            let found = all.iter().find(|device| device.name == *name);
            chosen.push(found.ok_or_else(|| {
                no_xdp(format!("there is no device {name}"), "correct the name; `ip link` lists them")
            })?);
        }
    }
    let mut out: Vec<Device> = Vec::new();
    for device in chosen {
        let parent = device.parent.filter(|_| device.kind == "vlan");
        let device = parent.and_then(|parent| all.iter().find(|other| other.ifindex == parent)).unwrap_or(device);
        if device.is_loopback {
            return Err(no_xdp(
                format!("the media address is on {}, which carries nothing from elsewhere", device.name),
                "nothing is to be done: XDP relays what comes by a network card",
            ));
        }
        if !device.is_ethernet {
            return Err(no_xdp(
                format!("{} is not an Ethernet device", device.name),
                "use an address of an Ethernet device for media",
            ));
        }
        if !out.contains(device) {
            out.push(device.clone());
        }
    }
    if out.is_empty() {
        return Err(no_xdp("there is no media address", "set media.address"));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(ifindex: u32, name: &str, address: &str) -> Device {
        let addresses = vec![address.parse().unwrap()];
        Device { ifindex, name: name.into(), mtu: 1500, is_ethernet: true, addresses, ..Device::default() }
    }

    fn host() -> Vec<Device> {
        vec![
            Device { is_loopback: true, is_ethernet: false, ..device(1, "lo", "127.0.0.1") },
            device(2, "eth0", "192.0.2.1"),
            device(3, "eth1", "fd00::1"),
            Device { kind: "vlan".into(), parent: Some(2), ..device(4, "eth0.7", "10.0.0.1") },
            Device { is_ethernet: false, ..device(5, "wg0", "10.9.0.1") },
        ]
    }

    fn chosen(names: &[&str], ours: &[&str]) -> Result<Vec<u32>> {
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        let ours: Vec<IpAddr> = ours.iter().map(|address| address.parse().unwrap()).collect();
        let devices = choose(&host(), &names, &ours).map_err(std::io::Error::other)?;
        Ok(devices.iter().map(|device| device.ifindex).collect())
    }

    #[test]
    fn owners_of_our_addresses_are_found_and_vlans_come_by_their_parents() {
        assert_eq!(chosen(&[], &["192.0.2.1", "fd00::1"]).unwrap(), [2, 3]);
        assert_eq!(chosen(&[], &["10.0.0.1", "192.0.2.1"]).unwrap(), [2]);
        assert_eq!(chosen(&["eth1", "eth0.7"], &[]).unwrap(), [3, 2]);
    }

    #[test]
    fn what_cannot_be_is_said() {
        let said = |names: &[&str], ours: &[&str]| chosen(names, ours).unwrap_err().to_string();
        assert!(said(&[], &["127.0.0.1"]).contains("lo, which carries nothing"));
        assert!(said(&[], &["192.0.2.77"]).contains("no device has the media address 192.0.2.77"));
        assert!(said(&["eth9"], &[]).contains("there is no device eth9"));
        assert!(said(&["wg0"], &[]).contains("wg0 is not an Ethernet device"));
        assert!(said(&[], &[]).contains("media.address"));
    }

    #[test]
    fn this_host_lists_its_loopback_device() {
        let devices = list().unwrap();
        let lo = devices.iter().find(|device| device.name == "lo").expect("every name space has one");
        assert!(lo.is_loopback && !lo.is_ethernet);
    }
}
