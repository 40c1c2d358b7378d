//! Where the demo plays: loopback addresses of its own, two accounts, a folder that goes away.

use crate::config::{self, Config};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Domain of the two accounts (RFC 2606).
pub const DOMAIN: &str = "demo.invalid";
/// First media port of the phones and of the appliance; each has an address of its own.
pub const PORT_MIN: u16 = 10_000;
/// Pairs of media ports a phone uses in turn.
pub const PAIRS: u16 = 16_000;
const PORT_MAX: u16 = 59_999;
const SIP_PORT: u16 = 5060;
const HTTP_PORT: u16 = 8080;

/// Addresses, accounts, folder.
#[derive(Debug)]
pub struct Setting {
    network: [u8; 3],
    folder: PathBuf,
    passwords: [String; 2],
    calls: u32,
    backend: &'static str,
}

impl Setting {
    /// Picks a corner of 127.0.0.0/8 that nobody else is likely to use, so that no port is taken.
    ///
    /// # Errors
    /// When there is no place for temporary files or no randomness.
    pub fn new(calls: u32, backend: &'static str) -> Result<Self, String> {
        let mut bytes = [0u8; 34];
        getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let folder = std::env::temp_dir().join(format!("strowger-demo-{}-{}", std::process::id(), hex(&bytes[..4])));
        std::fs::create_dir_all(&folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
        Ok(Self {
            network: [127, 64 + bytes[32] % 64, bytes[33]],
            folder,
            passwords: [hex(&bytes[4..16]), hex(&bytes[16..28])],
            calls,
            backend,
        })
    }

    fn address(&self, last: u8, port: u16) -> SocketAddr {
        let [a, b, c] = self.network;
        SocketAddr::from(([a, b, c, last], port))
    }

    /// Where the appliance hears SIP.
    pub fn server(&self) -> SocketAddr {
        self.address(1, SIP_PORT)
    }

    /// Where a phone hears SIP; its media ports are on the same address.
    pub fn phone(&self, index: usize) -> SocketAddr {
        self.address(2 + index as u8, SIP_PORT)
    }

    /// Names and passwords.
    pub fn accounts(&self) -> [(&'static str, &str); 2] {
        [("alice", &self.passwords[0]), ("bob", &self.passwords[1])]
    }

    /// The appliance's configuration, through the same reader as any other.
    ///
    /// # Errors
    /// When it does not pass, which is a mistake of ours.
    pub fn config(&self) -> Result<Config, String> {
        config::read(&self.text(), "demo").config.ok_or_else(|| {
            let errors = config::read(&self.text(), "demo").errors;
            format!("the demo's own configuration is wrong: {errors:?}")
        })
    }

    fn text(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        // One core is left to the phones.
        let shards = cores.saturating_sub(1).clamp(2, 64);
        let (server, media) = (self.server(), self.server().ip());
        let (folder, backend, calls) = (quoted(&self.folder), self.backend, self.calls);
        let mut text = format!(
            "[node]\nname = \"demo\"\ndata_dir = {folder}\n\
             [shards]\ncount = {shards}\npin = false\nbackend = \"{backend}\"\n\
             [sip]\ndomains = [\"{DOMAIN}\"]\n\
             [[sip.listen]]\naddress = \"{server}\"\ntransport = \"udp\"\n\
             [[sip.listen]]\naddress = \"{server}\"\ntransport = \"tcp\"\n\
             [media]\naddress = \"{media}\"\nport_min = {PORT_MIN}\nport_max = {PORT_MAX}\n\
             [control]\nlisten = \"{}\"\n\
             [log]\nlevel = \"warn\"\n",
            self.address(1, HTTP_PORT)
        );
        for (name, password) in self.accounts() {
            text.push_str(&format!(
                "[[account]]\nname = \"{name}\"\nmax_calls = {}\n\
                 [[account.device]]\nusername = \"{name}\"\npassword = \"{password}\"\n",
                2 * calls
            ));
        }
        text
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        // A folder that cannot be removed stays: nothing depends on it.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn quoted(path: &Path) -> String {
    toml::Value::String(path.display().to_string()).to_string()
}
