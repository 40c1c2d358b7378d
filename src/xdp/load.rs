//! Loading without attaching: the devices that are wanted, the memory, the program; and what attaching would come to.

use super::OBJECT;
use super::devices::{Device, choose, list, vlans_upon};
use super::features::{Mute, mute};
use super::layout;
use super::memory::Memory;
use super::object::Object;
use super::options::XdpOptions;
use super::probe::{Host, MTU_ALWAYS_TAKEN, no_xdp};
use super::sys::Program;
use super::ticks::Ticks;
use crate::base::Unusable;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Program and memory, attached to nothing yet.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) memory: Arc<Memory>,
    pub(super) program: Program,
    pub(super) ticks: Ticks,
    pub(super) devices: Vec<Device>,
}

pub(super) fn wanted_devices(options: &XdpOptions) -> Result<Vec<Device>, Unusable> {
    let failed = |error: std::io::Error| {
        no_xdp(format!("devices cannot be listed ({error})"), "allow AF_NETLINK in the unit's RestrictAddressFamilies")
    };
    choose(&list().map_err(failed)?, &options.devices, &options.addresses())
}

pub(super) fn load(options: &XdpOptions) -> Result<Loaded, Unusable> {
    let devices = wanted_devices(options)?;
    let host = Host::read();
    let constants = options.constants();
    let rows = (constants.v4_count + constants.v6_count) as usize * constants.pairs as usize;
    let bytes = rows * size_of::<layout::Row>();
    let memory = Memory::create(constants).map_err(|error| host.explain_memory(&error, bytes))?;
    let object = Object::parse(OBJECT)
        .ok_or_else(|| no_xdp("the program in this binary is broken", "build it again with src/xdp/prog/build"))?;
    let load = |name| memory.load(&object, name).map_err(|rejected| host.explain_program(&rejected));
    let program = load("relay")?;
    let clock = load("clock")?;
    clock
        .test_run(&[0; 64], None, 1, &mut [])
        .map_err(|error| no_xdp(format!("the kernel's tick cannot be read ({error})"), "run Linux 6.1 or newer"))?;
    let ticks = Ticks::new(&memory.moment[0], Ticks::tick());
    Ok(Loaded { memory: Arc::new(memory), program, ticks, devices })
}

/// Opens every pair, so that nothing is dropped before its shard says otherwise, and lets frames leave by these devices.
pub(super) fn open_all(memory: &Memory, indices: &[(u32, u16)]) -> Result<(), Unusable> {
    for row in memory.rows4.iter().chain(memory.rows6.iter()) {
        row.state.store(layout::state::OPEN, Relaxed);
    }
    for (ifindex, index) in indices {
        let map = memory.devices.as_ref();
        let put = map.map(|map| map.update(&u32::from(*index).to_ne_bytes(), &ifindex.to_ne_bytes()));
        if let Some(Err(error)) = put {
            return Err(no_xdp(format!("frames may not leave by a device ({error})"), "report this"));
        }
    }
    Ok(())
}

pub(super) fn not_followed(error: std::io::Error) -> Unusable {
    let reason = format!("neighbours cannot be followed ({error})");
    no_xdp(reason, "allow AF_NETLINK in the unit's RestrictAddressFamilies")
}

/// What attaching would come to, as far as it can be told without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// The devices' names.
    pub devices: Vec<String>,
    /// What would be worse than it might be, and how it gets better.
    pub warnings: Vec<String>,
}

/// What `strowger check` may say: loads everything, attaches nothing, since a network card stops for a moment when its
/// driver is given a program.
///
/// # Errors
/// The reason and the remedy.
pub fn probe(options: &XdpOptions) -> Result<Foreseen, Unusable> {
    let devices = load(options)?.devices;
    let veths: Vec<Device> = devices.iter().filter(|device| device.kind == "veth").cloned().collect();
    let mute = mute(&veths);
    // All of them will be, if one is mute.
    let generic: Vec<u32> = devices.iter().filter(|_| mute.is_some()).map(|device| device.ifindex).collect();
    let known = mute.map(takes_no_frames).into_iter().chain(shows_no_tags(&generic));
    let warnings = devices.iter().filter_map(great_mtu).chain(known).collect();
    Ok(Foreseen { devices: devices.into_iter().map(|device| device.name).collect(), warnings })
}

fn great_mtu(device: &Device) -> Option<String> {
    (device.mtu > MTU_ALWAYS_TAKEN).then(|| {
        let Device { name, mtu, .. } = device;
        format!("the MTU of {name} is {mtu}: many drivers have native XDP up to {MTU_ALWAYS_TAKEN} only, else generic XDP is used, which is slower")
    })
}

pub(super) fn takes_no_frames(Mute { device, is_told }: Mute<'_>) -> String {
    let Device { name, kind, .. } = device;
    if !is_told {
        return format!(
            "generic XDP, since this kernel does not say whether {name} takes frames from a program: run Linux 6.3 or newer"
        );
    }
    let remedy = match kind.as_str() {
        "veth" => "give its peer a program or GRO before it is put up (ethtool -K PEER gro on)",
        _ => "use a newer driver",
    };
    format!("generic XDP, since {name} takes no frames from a program: {remedy}")
}

/// That VLANs upon these devices, whose program is generic, are none of its affair; nothing where there is none.
pub(super) fn shows_no_tags(generic: &[u32]) -> Option<String> {
    let all = list().unwrap_or_default();
    let vlans = vlans_upon(&all, generic);
    (!vlans.is_empty()).then(|| {
        let names = vlans.join(", ");
        format!("generic XDP is not shown VLAN tags: media of parties behind {names} stays on the sockets; use a device with XDP in its driver")
    })
}
