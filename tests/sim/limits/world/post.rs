//! Messages between sites: lost, doubled, late, and only between the two identities that a link leads to.

use super::*;

impl World {
    pub fn send(&mut self, from: usize, peer: usize, sender: &Identity, to: u128, message: &Message) {
        let copies = 1 + u64::from(!self.calm && self.chance(self.plan.doubled));
        for _ in 0..copies {
            if !self.calm && self.chance(self.plan.loss) {
                self.say(|| format!("{from} -> {peer} lost {message:?}"));
                continue;
            }
            let late = if self.calm || self.plan.good { 0 } else { self.random.below(40) };
            let delay = match late {
                38 => self.random.below(5 * SECOND),
                39 => self.random.below(60 * SECOND),
                30..38 => 80 * MILLI + self.random.below(200 * MILLI),
                _ => 10 * MILLI + self.random.below(30 * MILLI),
            };
            let (sender, message) = (sender.clone(), message.clone());
            self.after(delay, Event::At(peer, Step::Deliver { from, sender, to, message }));
        }
    }

    pub fn deliver(&mut self, site: usize, from: usize, sender: &Identity, message: Message) {
        if self.cut[from][site] > 0 {
            return;
        }
        let now = self.hosts[site].clock(self.now);
        let Some(process) = &mut self.hosts[site].process else { return };
        let Some((number, identity)) = process.links[from].clone() else { return };
        if identity == *sender {
            if self.verbose {
                println!("{:>10.4} s  {from} -> {site} {message:?}", self.now as f64 / 1e9);
            }
            process.rights.handle(now, number, message);
        } else if identity.disk == sender.disk && identity.incarnation > sender.incarnation {
            let answer = process.rights.link_up(now, sender.clone());
            self.check.fenced(answer.is_err(), self.now);
        }
    }
}
