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
    /// What a VLAN is upon, if that is in this name space.
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

/// `IFLA_LINK_NETNSID`: the number of what it is upon is one of another name space.
pub(super) const LINK_ELSEWHERE: u16 = 37;

fn device_of(message: Message<'_>) -> Option<Device> {
    const LOOPBACK: u32 = 8;
    const ETHERNET: u16 = 1;
    let (body, mut is_elsewhere) = (message.body, false);
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
            LINK_ELSEWHERE => is_elsewhere = true,
            _ => {}
        }
    }
    if is_elsewhere || device.kind != "vlan" {
        device.parent = None;
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
        let below = all.iter().find(|other| Some(other.ifindex) == device.parent);
        let device = below.unwrap_or(device);
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

/// The VLANs upon one of these devices, by name.
pub fn vlans_upon<'a>(all: &'a [Device], devices: &[u32]) -> Vec<&'a str> {
    let is_upon = |device: &&Device| device.parent.is_some_and(|parent| devices.contains(&parent));
    all.iter().filter(is_upon).map(|device| device.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::netlink::push_attribute;
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
        assert_eq!(vlans_upon(&host(), &[1, 2]), ["eth0.7"]);
        assert!(vlans_upon(&host(), &[3, 4]).is_empty());
    }

    #[test]
    fn a_vlan_is_upon_no_device_of_this_name_space_whose_number_is_of_another() {
        let told = |elsewhere: bool| {
            let mut body = vec![0; 16];
            body[2] = 1;
            let mut info = Vec::new();
            push_attribute(&mut info, 1, b"vlan\0");
            push_attribute(&mut body, 5, &2u32.to_ne_bytes());
            push_attribute(&mut body, 18, &info);
            if elsewhere {
                push_attribute(&mut body, LINK_ELSEWHERE, &0u32.to_ne_bytes());
            }
            device_of(Message { kind: kind::NEW_LINK, body: &body }).unwrap().parent
        };
        assert_eq!((told(false), told(true)), (Some(2), None));
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
