//! The sockets of one thread, opened before it starts so that a port that is taken is a sentence.

use std::net::SocketAddr;

use strowger::base::{SocketKey, Transport};
use strowger::io::{self, Choice, Driver, UdpOptions};

use crate::core::{Plan, Role};
use crate::preflight::Trouble;
use crate::units::Addresses;

/// Asked of the kernel for sockets that carry SIP: at 100,000 calls a second a pause of 50 ms is 15,000 messages of 1.3 KB each.
/// Without CAP_NET_ADMIN it is net.core.rmem_max that decides.
const RECEIVE_BUFFER: usize = 32 << 20;

/// Messages, or runs of them, taken from the kernel at once. Buffers are used in turn, so that fewer stay in the caches.
const MESSAGES: u16 = 128;

/// Messages read before those are sent that answer them. Whoever answers us waits meanwhile: two sides that read all there is
/// before they send hand one great heap to and fro, and each is idle while the other works.
const SHARE: u16 = 256;

/// The sockets of one core as they are opened, key after key.
pub struct Sockets {
    /// Holds them.
    pub driver: Box<dyn Driver>,
    next: u32,
}

impl Sockets {
    /// A driver for at most `most` of them.
    pub fn new(choice: &Choice, most: usize) -> Result<Self, Trouble> {
        let options =
            io::Options { sockets_max: most, message_buffers: MESSAGES, share: SHARE, ..io::Options::default() };
        let no_driver = |error| Trouble::outside(format!("no driver: {error}; check memory and file limits"));
        Ok(Self { driver: choice.open(options).map_err(no_driver)?, next: 0 })
    }

    /// Sockets so far, and the next key.
    pub fn count(&self) -> u32 {
        self.next
    }

    fn key(&mut self) -> SocketKey {
        self.next += 1;
        SocketKey(self.next - 1)
    }

    fn signalling(&mut self, bind: SocketAddr, reuse_port: bool) -> std::io::Result<(SocketKey, SocketAddr)> {
        let key = self.key();
        let options = UdpOptions {
            reuse_port,
            receive_buffer_bytes: RECEIVE_BUFFER,
            batched: true,
            stamped: true,
            ..UdpOptions::signalling(bind)
        };
        self.driver.open_udp(key, &options).map(|local| (key, local))
    }

    /// The calling side's UDP sockets, from the port of `local` on if it has one, `before` of them opened elsewhere; over
    /// TCP, a place for each connection.
    pub fn uac(
        &mut self,
        plan: &Plan,
        local: Addresses,
        before: usize,
        sources: usize,
    ) -> Result<Vec<(SocketKey, SocketAddr)>, Trouble> {
        let mut out = Vec::with_capacity(sources);
        for source in before..before + sources {
            out.push(match plan.transport {
                Transport::Udp => {
                    let first = local.first;
                    let own = local
                        .source(source)
                        .ok_or_else(|| Trouble::usage(format!("--bind {first}: {sources} ports do not fit")))?;
                    let wrong =
                        |error| Trouble::usage(format!("--bind: {own}: {error}; is it an address of this machine?"));
                    self.signalling(own, false).map_err(wrong)?
                }
                _ => (self.key(), SocketAddr::new(local.first.ip(), 0)),
            });
        }
        Ok(out)
    }

    /// The answering side's socket or listener; of a scenario, whose options have other names.
    pub fn uas(
        &mut self,
        plan: &Plan,
        bind: SocketAddr,
        shared: bool,
        of_scenario: bool,
    ) -> Result<(SocketKey, SocketAddr), Trouble> {
        let opened = match plan.transport {
            Transport::Udp => self.signalling(bind, shared),
            _ => {
                let key = self.key();
                self.driver.listen(key, bind, shared).map(|local| (key, local))
            }
        };
        opened.map_err(|error| {
            let option = if of_scenario { "port with --bind IP:PORT" } else { "--uas-listen" };
            Trouble::usage(format!("the answering side cannot listen on {bind}: {error}; choose another {option}"))
        })
    }

    /// RTP sockets: `needed` of them on each of the two sides' addresses in turn, of the even `ports` that are free.
    pub fn media(
        &mut self,
        ports: &mut std::vec::IntoIter<u16>,
        addresses: [Addresses; 2],
        needed: [usize; 2],
    ) -> Result<Vec<(Role, SocketAddr)>, Trouble> {
        let mut out = Vec::with_capacity(needed.iter().sum());
        for (role, addresses, needed) in [(Role::Uac, addresses[0], needed[0]), (Role::Uas, addresses[1], needed[1])] {
            let goal = out.len() + needed;
            while out.len() < goal {
                let port = ports.next().ok_or_else(|| {
                    Trouble::usage("other programs hold too many of the --rtp-ports; widen or move the range")
                })?;
                let address = SocketAddr::new(addresses.ip(out.len()), port);
                let options = UdpOptions { stamped: true, ..UdpOptions::media(address) };
                match self.driver.open_udp(SocketKey(self.next), &options) {
                    Ok(local) => out.push((role, local)),
                    Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => continue,
                    Err(error) => return Err(Trouble::outside(format!("RTP port: {error}"))),
                }
                self.next += 1;
            }
        }
        Ok(out)
    }
}
