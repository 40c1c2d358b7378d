//! How a town comes to be: its tables, accounts, phones and trunks, and how each of them answers.

use super::Life;
use crate::keeper::Keeper;
use crate::town;
use strowger::base::Transport;
use strowger::base::time::Duration;
use strowger::phone::{Answering, Then};

impl Life {
    /// Ordinary tables, or such small ones that everything runs full.
    fn head(&mut self) -> String {
        self.small = self.chance(20);
        if !self.small {
            return town::head("calls_max = 200\ntransactions_max = 2000", town::PORTS);
        }
        let mut below = |least: u64, most: u64| least + self.random.below(most - least + 1);
        let tables = format!(
            "calls_max = {}\ntransactions_max = {}\ncontacts_max = {}\nconnections_max = {}",
            below(1, 4),
            below(16, 100),
            below(2, 10),
            below(1, 6)
        );
        town::head(&tables, 2 * below(16, 40) as u16)
    }

    pub(super) fn settle(&mut self) -> Result<(), String> {
        let mut text = self.head();
        let mut number = 0;
        for index in 0..2 + self.random.below(3) {
            let name = format!("a{index}");
            let devices = 1 + self.random.below(3) as usize;
            let forking = if self.chance(30) { "serial" } else { "parallel" };
            let more = format!(
                "numbers = [\"+1555000{index}\"]\nmax_calls = {}\nforking = \"{forking}\"\n",
                1 + self.random.below(4)
            );
            town::account(&mut text, &name, devices, &more);
            for device in 0..devices {
                let transport = if self.chance(30) { Transport::Tcp } else { Transport::Udp };
                let mut options = town::phone(&name, device, number, transport);
                options.expires = 60 + self.random.below(120) as u32;
                options.answering = self.answering();
                match self.random.below(8) {
                    0 => town::to_v6(&mut options),
                    1 => town::behind_nat(&mut options),
                    _ => {}
                }
                self.world.add(&format!("{name}/{device}"), options);
                number += 1;
            }
            self.accounts.push(name);
        }
        for index in 0..self.random.below(3) as usize {
            let prefix = ["+1", "+44", ""][self.random.below(3) as usize];
            let more = format!(
                "prefixes = [\"{prefix}\"]\nmax_calls = 3\ntimeout = \"2s\"\nallow_from = [\"{}/32\"]\n",
                town::address(town::TRUNKS + index).ip()
            );
            town::trunk(&mut text, &format!("t{index}"), index, &more);
            let mut options = town::carrier(&format!("t{index}"), index, Transport::Udp);
            options.answering = self.answering();
            self.world.add(&format!("t{index}"), options);
        }
        let config = town::config(&text)?;
        self.config = config.clone();
        let shards = 1 + self.random.below(4) as usize;
        if self.chance(50) {
            self.world.keeper = Some(Keeper::new(self.random.fork()));
        }
        town::build(&mut self.world, &config, shards);
        if let (Some(appliance), true) = (&mut self.world.appliance, self.kernel.is_some()) {
            appliance.add_kernels(self.world.now, self.bug);
        }
        Ok(())
    }

    pub(super) fn answering(&mut self) -> Answering {
        let early = self.chance(20);
        Answering {
            deaf: self.chance(5),
            provisional: match self.random.below(4) {
                0 => None,
                _ => Some(if early { 183 } else { 180 }),
            },
            early_media: early,
            after: if self.chance(50) { Duration::ZERO } else { self.seconds(0, 5) },
            then: match self.random.below(12) {
                0 => Then::Reject(486),
                1 => Then::Reject([480, 503, 603, 404][self.random.below(4) as usize]),
                2 => Then::Wait,
                3 => Then::Redirect(format!("sip:a0@{}", town::DOMAIN)),
                _ => Then::Accept,
            },
            hang_up_after: self.chance(50).then(|| self.seconds(0, 8)),
        }
    }
}
