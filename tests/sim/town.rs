//! Who lives where: the appliance's configuration and the phones that belong to it.

use crate::appliance::Appliance;
use crate::world::World;
use std::fmt::Write;
use std::net::SocketAddr;
use strowger::base::Transport;
use strowger::config::{self, Config};
use strowger::phone::{Login, Options};

/// The domain served.
pub const DOMAIN: &str = "example.com";
/// Where the appliance hears SIP, over UDP and TCP; its media ports are on the same address.
pub const SERVER: &str = "10.0.0.1:5060";
/// Media ports of the appliance.
const MEDIA: (u16, u16) = (30_000, 34_095);
const PASSWORD: &str = "circle of life";

pub fn server() -> SocketAddr {
    SERVER.parse().expect("a constant")
}

/// Address of the phone with that number; trunks have numbers from 100.
pub fn address(number: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, number as u8], 5060))
}

/// Number of the first trunk.
pub const TRUNKS: usize = 100;

/// The head of a configuration; accounts and trunks follow.
pub fn head() -> String {
    format!(
        "[node]\nname = \"sim\"\n[sip]\ndomains = [\"{DOMAIN}\"]\n\
         [[sip.listen]]\naddress = \"{SERVER}\"\ntransport = \"udp\"\n\
         [[sip.listen]]\naddress = \"{SERVER}\"\ntransport = \"tcp\"\n\
         [media]\naddress = \"10.0.0.1\"\nport_min = {}\nport_max = {}\n",
        MEDIA.0, MEDIA.1
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
    world.appliance = Some(Appliance::new(config, shards, random, world.now));
}
