//! Whether a device takes the frames that a program sends to it: asked of the kernel's generic netlink family `netdev` (Linux
//! 6.3 on). A veth whose peer has neither a program nor GRO takes none, and drops them without a word.

use super::devices::Device;
use super::netlink::{Message, Netlink, attributes, half, push_attribute, word};

/// `GENL_ID_CTRL`, `CTRL_CMD_GETFAMILY`, `CTRL_ATTR_FAMILY_NAME`, `CTRL_ATTR_FAMILY_ID`.
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_NAME: u16 = 2;
const FAMILY_ID: u16 = 1;
/// `NETDEV_CMD_DEV_GET`, `NETDEV_A_DEV_IFINDEX`, `NETDEV_A_DEV_XDP_FEATURES`.
const GET_DEVICE: u8 = 1;
const IFINDEX: u16 = 1;
const FEATURES: u16 = 3;
/// `NETDEV_XDP_ACT_NDO_XMIT`.
const TAKES_FRAMES: u32 = 4;
/// `struct genlmsghdr`.
const HEAD: usize = 4;

/// A device that may not be sent frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mute<'a> {
    /// Which one.
    pub device: &'a Device,
    /// The kernel says so; otherwise it is too old to be asked.
    pub is_told: bool,
}

/// Of the devices, the first that takes no frames. Drivers of hardware say so only once they have a program; where the kernel
/// is too old to be asked, a veth is taken to be one.
#[must_use]
pub fn mute(devices: &[Device]) -> Option<Mute<'_>> {
    let mut kernel = Kernel::open();
    devices.iter().find_map(|device| {
        let takes = kernel.as_mut().and_then(|kernel| kernel.takes_frames(device.ifindex));
        let is_mute = !takes.unwrap_or(device.kind != "veth");
        is_mute.then_some(Mute { device, is_told: takes.is_some() })
    })
}

struct Kernel {
    netlink: Netlink,
    family: u16,
}

impl Kernel {
    fn open() -> Option<Self> {
        let mut netlink = Netlink::generic().ok()?;
        let mut body = vec![GET_FAMILY, 1, 0, 0];
        push_attribute(&mut body, FAMILY_NAME, b"netdev\0");
        let mut family = None;
        let mut take = |message: Message<'_>| family = field(message, FAMILY_ID).and_then(|value| half(value, 0));
        netlink.ask(CONTROL, &body, &mut take).ok()?;
        Some(Self { netlink, family: family? })
    }

    fn takes_frames(&mut self, ifindex: u32) -> Option<bool> {
        let mut body = vec![GET_DEVICE, 1, 0, 0];
        push_attribute(&mut body, IFINDEX, &ifindex.to_ne_bytes());
        let mut features = None;
        let mut take = |message: Message<'_>| features = field(message, FEATURES).and_then(low_word);
        self.netlink.ask(self.family, &body, &mut take).ok()?;
        Some(features? & TAKES_FRAMES != 0)
    }
}

fn field<'a>(message: Message<'a>, wanted: u16) -> Option<&'a [u8]> {
    attributes(message.body.get(HEAD..)?).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// The low half of 64 bits in the host's order.
fn low_word(value: &[u8]) -> Option<u32> {
    word(value, if cfg!(target_endian = "big") { 4 } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_no_features_and_nobody_has_no_answer() {
        let Some(mut kernel) = Kernel::open() else { return };
        assert_eq!(kernel.takes_frames(1), Some(false));
        assert_eq!(kernel.takes_frames(u32::MAX >> 1), None);
    }

    #[test]
    fn a_device_that_is_not_known_is_judged_by_its_kind() {
        let device = |kind: &str| {
            let mut device = Device::default();
            (device.ifindex, device.kind) = (u32::MAX >> 1, kind.into());
            device
        };
        assert_eq!(mute(&[device(""), device("bond")]), None);
        let (veth, other) = (device("veth"), device(""));
        let devices = [other, veth.clone()];
        assert_eq!(mute(&devices), Some(Mute { device: &veth, is_told: false }));
    }
}
