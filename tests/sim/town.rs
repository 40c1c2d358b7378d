//! Who lives where: the appliance's configuration and the phones that belong to it.

use crate::appliance::Appliance;
use crate::world::World;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use strowger::base::Transport;
use strowger::config::{self, Config};
use strowger::phone::{Login, Options};

/// The domain served.
pub const DOMAIN: &str = "example.com";
/// Where the appliance hears SIP, over UDP and TCP; its media ports are on the same address.
pub const SERVER: &str = "10.0.0.1:5060";
/// First media port of the appliance.
pub const PORT_MIN: u16 = 30_000;
/// How many there are, usually.
pub const PORTS: u16 = 4_096;
const PASSWORD: &str = "circle of life";

pub fn server() -> SocketAddr {
    SERVER.parse().expect("a constant")
}

/// The same over IPv6.
pub const SERVER_V6: &str = "[fd00::1]:5060";

/// Where a station of that family finds the appliance.
pub fn server_of(ip: IpAddr) -> SocketAddr {
    if ip.is_ipv4() { server() } else { SERVER_V6.parse().expect("a constant") }
}

/// Moves a phone to IPv6.
pub fn to_v6(options: &mut Options) {
    let IpAddr::V4(ip) = options.local.ip() else { return };
    let [.., last] = ip.octets();
    let ip = IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 1, u16::from(last)]);
    options.local.set_ip(ip);
    options.media_address = ip;
    options.server = server_of(ip);
}

/// Puts a phone behind a NAT that changes addresses and keeps ports.
pub fn behind_nat(options: &mut Options) {
    let last = options.local.port() as u8;
    options.inside = Some(IpAddr::from([192, 168, 1, last]));
}

/// Address of the phone with that number; trunks have numbers from 100.
pub fn address(number: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, number as u8], 5060))
}

/// Number of the first trunk.
pub const TRUNKS: usize = 100;

/// The head of a configuration; accounts and trunks follow. `shards` are settings of that table.
pub fn head(shards: &str, ports: u16) -> String {
    format!(
        "[node]\nname = \"sim\"\n[shards]\n{shards}\n[sip]\ndomains = [\"{DOMAIN}\"]\n\
         [[sip.listen]]\naddress = \"{SERVER}\"\ntransport = \"udp\"\n\
         [[sip.listen]]\naddress = \"{SERVER}\"\ntransport = \"tcp\"\n\
         [[sip.listen]]\naddress = \"{SERVER_V6}\"\ntransport = \"udp\"\n\
         [[sip.listen]]\naddress = \"{SERVER_V6}\"\ntransport = \"tcp\"\n\
         [media]\naddress_v6 = \"fd00::1\"\naddress = \"10.0.0.1\"\nport_min = {}\nport_max = {}\n",
        PORT_MIN,
        PORT_MIN + ports - 1
    )
}

/// An account whose devices are named like it.
pub fn account(text: &mut String, name: &str, devices: usize, more: &str) {
    let _ = write!(text, "[[account]]\nname = \"{name}\"\n{more}");
    for device in 0..devices {
        let _ = write!(text, "[[account.device]]\nusername = \"{}\"\npassword = \"{PASSWORD}\"\n", user(name, device));
    }
}

/// Digest user of a device.
pub fn user(account: &str, device: usize) -> String {
    if device == 0 { account.to_owned() } else { format!("{account}-{device}") }
}

/// A trunk at the address of that number.
pub fn trunk(text: &mut String, name: &str, number: usize, more: &str) {
    let _ = write!(text, "[[trunk]]\nname = \"{name}\"\naddress = \"{}\"\n{more}", address(TRUNKS + number));
}

/// A device of an account.
pub fn phone(account: &str, device: usize, number: usize, transport: Transport) -> Options {
    let mut options = Options::new(account, DOMAIN, address(number), server());
    options.login = Some(Login { username: user(account, device), password: PASSWORD.to_owned() });
    options.transport = transport;
    options
}

/// A carrier's end: answers for any number, registers nowhere.
pub fn carrier(name: &str, number: usize, transport: Transport) -> Options {
    let mut options = Options::new(name, "carrier.example", address(TRUNKS + number), server());
    options.transport = transport;
    options
}

/// Reads a configuration that a test wrote.
pub fn config(text: &str) -> Result<Config, String> {
    let outcome = config::read(text, "simulator");
    outcome.config.ok_or_else(|| format!("the configuration is wrong: {:?}\n{text}", outcome.errors))
}

/// Puts an appliance of so many shards into the world.
pub fn build(world: &mut World, config: &Config, shards: usize) {
    let random = world.fork_random();
    let pulse = world.keeper.as_ref().map(|keeper| &keeper.pulse);
    let appliance = Appliance::new(config, shards, random, world.now, pulse);
    if let Some(keeper) = &mut world.keeper {
        keeper.open(&appliance.directory);
    }
    world.appliance = Some(appliance);
}
