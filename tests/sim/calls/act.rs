//! What happens in a town: people use their phones, operators interfere, strangers intrude, machines and links fail.

use super::{Life, Mood};
use crate::town;
use crate::world::World;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use strowger::base::ShardId;
use strowger::call::Directory;
use strowger::phone::{Direction, Placing};
use strowger::shard::Mail;

impl Life {
    /// Somebody does something, or something breaks.
    pub(super) fn act(&mut self) {
        self.keep();
        self.lose_neighbours();
        match self.random.below(25) {
            0..=8 => self.place(),
            9..=13 => self.use_a_call(),
            14 | 15 => {
                let answering = self.answering();
                let index = self.somebody();
                self.world.stations[index].phone.set_answering(answering);
            }
            19 => self.operate(),
            _ if self.mood == Mood::Good => self.place(),
            20 | 21 => self.intrude(),
            22 => {
                let (index, until) = (self.somebody(), self.world.now + self.seconds(0, 8));
                self.world.stations[index].off_until = until;
                self.world.trace.note(self.world.now, &format!("plug of {index}"), &[]);
            }
            16 => self.cut(),
            17 => self.pause(),
            18 => {
                let index = self.somebody();
                self.world.restart(index);
                let now = self.world.now;
                if self.world.stations[index].phone.options().login.is_some() {
                    self.world.stations[index].phone.register(now);
                }
            }
            _ => self.place(),
        }
        self.world.drain();
    }

    /// The kernel knows no next hop for a while.
    fn lose_neighbours(&mut self) {
        let (Some(random), Some(appliance)) = (&mut self.kernel, &self.world.appliance) else { return };
        for kernel in &appliance.kernels {
            kernel.refuse(random.below(100) < if kernel.is_refusing() { 50 } else { 10 });
        }
    }

    /// Other sites lend, call in and fall silent.
    fn keep(&mut self) {
        let (nap, until) = (self.chance(10), self.world.now);
        let World { keeper: Some(keeper), appliance: Some(appliance), .. } = &mut self.world else { return };
        keeper.sleep(nap.then_some(until));
        let letters = keeper.act(&appliance.directory, appliance.shards.len());
        for (to, mail) in letters {
            self.world.post(to, mail);
        }
    }

    fn somebody(&mut self) -> usize {
        self.random.below(self.world.stations.len() as u64) as usize
    }

    fn place(&mut self) {
        let caller = self.somebody();
        let account = self.random.below(self.accounts.len() as u64) as usize;
        let target = match self.random.below(10) {
            0..=5 => format!("sip:{}@{}", self.accounts[account], town::DOMAIN),
            6 => format!("sip:+1555000{account}@{}", town::DOMAIN),
            7 => format!("sip:+4420{}@{}", self.random.below(10_000), town::DOMAIN),
            8 => format!("sip:112@{}", town::DOMAIN),
            _ => format!("sip:nobody@{}", town::DOMAIN),
        };
        let placing = Placing {
            late_offer: self.chance(15),
            patience: Some(if self.chance(25) { self.seconds(0, 3) } else { self.seconds(5, 40) }),
            hang_up_after: self.chance(60).then(|| self.seconds(0, 8)),
            headers: Vec::new(),
        };
        let now = self.world.now;
        if self.world.stations[caller].phone.place(now, &target, &placing).is_some() {
            self.placed += 1;
        }
    }

    fn use_a_call(&mut self) {
        let now = self.world.now;
        let index = self.somebody();
        let action = self.random.below(6);
        let pick = self.random.below(1 << 20) as usize;
        let phone = &mut self.world.stations[index].phone;
        let lines = phone.lines();
        let Some(call) = lines.get(pick % lines.len().max(1)).copied() else { return };
        match action {
            0 | 1 => phone.hang_up(now, call),
            2 => phone.change(now, call, [Direction::SendOnly, Direction::Inactive][pick & 1]),
            3 => phone.change(now, call, Direction::SendRecv),
            4 => phone.dial(call, "12"),
            _ => phone.accept(now, call),
        }
    }

    /// An operator hangs up what there is in a shard, or publishes the same accounts with other limits.
    fn operate(&mut self) {
        let Some(appliance) = &mut self.world.appliance else { return };
        let shards = appliance.shards.len();
        if self.random.below(3) > 0 {
            let mut config = self.config.clone();
            for account in &mut config.accounts {
                account.max_calls = 1 + self.random.below(4) as u32;
            }
            let previous = Some(&*appliance.directory);
            let directory = Arc::new(match &self.world.keeper {
                Some(keeper) => Directory::kept(&config, previous, &keeper.pulse),
                None => Directory::new(&config, previous),
            });
            appliance.directory = Arc::clone(&directory);
            for shard in 0..shards {
                self.world.post(ShardId(shard as u8), Mail::Directory(Arc::clone(&directory)));
            }
        } else {
            appliance.hang_up_all(self.world.now);
        }
    }

    /// A stranger, or somebody in a phone's name, sends what nobody asked for.
    fn intrude(&mut self) {
        let stranger = SocketAddr::from(([10, 0, 3, self.random.below(5) as u8], 5060));
        for _ in 0..1 + self.random.below(20) {
            if self.chance(50) {
                let bytes = self.garbled();
                let index = self.somebody();
                let from = if self.chance(50) { stranger } else { self.world.stations[index].phone.options().local };
                self.world.intrude(from, town::server_of(from.ip()), bytes);
            } else {
                let mut packet = [0; 172];
                self.random.fill(&mut packet);
                packet[0] = 0x80;
                packet[1] &= 0x7f;
                let port = 30_000 + self.random.below(64) as u16;
                self.world.intrude(
                    stranger,
                    SocketAddr::new(town::server().ip(), port),
                    Bytes::copy_from_slice(&packet),
                );
            }
        }
    }

    /// The last message with a few octets changed, a line doubled, or its end cut off.
    fn garbled(&mut self) -> Bytes {
        let mut bytes = self.world.last_message.to_vec();
        for _ in 0..1 + self.random.below(4) {
            let at = self.random.below(bytes.len().max(1) as u64) as usize;
            let Some(byte) = bytes.get_mut(at) else { continue };
            match self.random.below(4) {
                0 => *byte = self.random.next_u32() as u8,
                1 => *byte = b"\r\n :;,<>\"@\0"[self.random.below(11) as usize],
                2 => bytes.truncate(at),
                _ => {
                    let line = bytes[at..].split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default().to_vec();
                    bytes.splice(at..at, line);
                }
            }
        }
        Bytes::from(bytes)
    }

    fn cut(&mut self) {
        let index = self.somebody();
        let until = self.world.now + self.seconds(0, 20);
        let here = self.world.stations[index].ip();
        let there = town::server_of(here).ip();
        let ways = self.random.below(3);
        if ways != 1 {
            self.world.network.cut(here, there, until);
        }
        if ways != 0 {
            self.world.network.cut(there, here, until);
        }
        let name = self.world.stations[index].name.clone();
        self.world.trace.note(self.world.now, &format!("cut of {name}, {ways}"), &[]);
    }

    fn pause(&mut self) {
        let index = self.somebody();
        let until = self.world.now + self.seconds(0, 5);
        let shard = self.chance(40);
        self.world.trace.note(self.world.now, &format!("pause {shard} {index}"), &[]);
        match &mut self.world.appliance {
            Some(appliance) if shard => {
                let count = appliance.paused_until.len();
                appliance.pause(index % count, self.world.now, until);
            }
            _ => self.world.stations[index].paused_until = until,
        }
    }
}
