//! Datagrams of this world: over the network, past the kernel's relay, to whoever has that address.

use super::{Happening, World};
use bytes::Bytes;
use std::net::SocketAddr;
use strowger::media::model::Fate;

impl World {
    pub(super) fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        for at in self.network.arrivals(self.now, from.ip(), to.ip()).into_iter().flatten() {
            self.push(at, Happening::Datagram { from, to, bytes: bytes.clone(), up: false });
        }
    }

    pub(super) fn datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes, up: bool) {
        let now = self.now;
        let fate = self.appliance.as_mut().filter(|_| !up).map(|appliance| appliance.below(now, from, to, &bytes));
        match fate {
            Some(Fate::Dropped) => return,
            Some(Fate::Relayed { from, to }) => return self.send(from, to, bytes),
            Some(Fate::Up) | None => {}
        }
        if let Some(heard) = self.heard.get_mut(&to.ip()) {
            heard.push(bytes);
            return;
        }
        let station = self.places.get(&to.ip()).copied();
        let place = self.appliance.as_ref().and_then(|appliance| {
            let place = appliance.socket(from, to)?;
            Some((place, appliance.paused_until[place.0]))
        });
        let paused = match (station, place) {
            (Some(index), _) => self.stations[index].paused_until,
            (None, Some((_, paused))) => paused,
            (None, None) => return,
        };
        if paused > now {
            self.push(paused, Happening::Datagram { from, to, bytes, up: true });
            return;
        }
        self.trace.note(now, &format!("datagram {from} -> {to}"), &bytes);
        if let Some(index) = station {
            let station = &mut self.stations[index];
            if station.off_until > now {
                return;
            }
            if to.port() == station.phone.options().local.port() {
                if !station.phone.options().transport.is_reliable() {
                    station.phone.handle_datagram(now, from, &bytes);
                    self.see(index, false, &bytes);
                }
            } else if station.ports.contains(&(to.port() & !1)) {
                station.phone.handle_media(now, to.port(), &bytes);
            }
        } else if let (Some(((shard, socket), _)), Some(appliance)) = (place, &mut self.appliance) {
            let mut bytes = bytes.to_vec();
            let forward = appliance.datagram(now, from, (shard, socket), &mut bytes);
            if let Some((from, to, len)) = forward {
                self.send(from, to, Bytes::copy_from_slice(&bytes[..len]));
            }
        }
    }
}
