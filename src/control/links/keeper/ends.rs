//! The keeper and its links: which connection to a peer is kept, what comes in over it, how it ends.

use super::Keeper;
use crate::base::Instant;
use crate::control::links::agree::{self, Next};
use crate::control::links::end::End;
use crate::control::links::feed::Feed;
use crate::control::links::inbox::Newcomer;
use crate::control::links::status::{Reason, Up};
use crate::tally::sessions::Reaction;
use crate::tally::wire::{Bye, Frame, Hello};
use crate::tally::{Identity, SiteId};

impl Keeper {
    pub(super) fn peer_of(&self, line: u64) -> Option<usize> {
        self.feeds.iter().position(|feed| feed.as_ref().is_some_and(|feed| feed.line == line))
    }

    pub(super) fn feed_of(&mut self, site: SiteId) -> Option<&mut Feed> {
        self.feeds.iter_mut().flatten().find(|feed| feed.site == site)
    }

    pub(super) fn up(&mut self, now: Instant, newcomer: Newcomer) {
        let Newcomer { peer, hello, version, dialled, reply } = newcomer;
        let preferred = dialled == (self.me.name < hello.identity.name);
        let answer = if self.resting {
            Err(End::close(Bye::Pausing, "this site changes its process"))
        } else if self.is_twin(peer, &hello) {
            Err(fenced(hello.identity.incarnation, false))
        } else {
            self.admit(now, peer, &hello.identity, preferred)
        };
        let site = match answer {
            Ok(site) => site,
            Err(end) => {
                let _ = reply.send(Err(end));
                return;
            }
        };
        if hello.start != 0 {
            self.starts[peer] = Some((hello.identity.clone(), hello.start));
        }
        self.lines += 1;
        let identity = hello.identity.clone();
        let (mut feed, line) = Feed::new(self.lines, site, hello, version, preferred, now);
        if let Ok(want) = self.sessions.link_up(&identity) {
            feed.push(&Frame::Sessions(want));
        }
        self.status.pinged(peer, now);
        feed.push(&Frame::Ping { stamp: now });
        feed.push_terms(agree::digest(&self.accounts, &self.shared));
        self.feeds[peer] = Some(feed);
        self.status.up(peer, Up { since: now, incarnation: identity.incarnation, version, dialled });
        let _ = self.linked[peer].send(true);
        let _ = reply.send(Ok(line));
    }

    /// Another start of the very incarnation that has been seen: a copy of its disk, which does not know what that one has
    /// lent.
    fn is_twin(&self, peer: usize, hello: &Hello) -> bool {
        let known = self.starts[peer].as_ref().filter(|(identity, _)| *identity == hello.identity);
        hello.start != 0 && known.is_some_and(|(_, start)| *start != hello.start)
    }

    /// Which of two connections to one peer is kept, and whether the peer is one that may come back.
    fn admit(&mut self, now: Instant, peer: usize, identity: &Identity, preferred: bool) -> Result<SiteId, End> {
        if let Some(feed) = &self.feeds[peer] {
            let same = feed.identity == *identity;
            if same && feed.preferred && !preferred {
                return Err(End::close(Bye::Redundant, "another connection is kept"));
            }
            if feed.identity.disk == identity.disk && feed.identity.incarnation > identity.incarnation {
                return Err(fenced(feed.identity.incarnation, false));
            }
            self.cut(now, peer, Bye::Redundant, "a newer connection takes its place");
        }
        self.rights.link_up(now, identity.clone()).map_err(|fence| fenced(fence.seen, fence.retired))
    }

    /// Ends a link with a last word; the connection closes when it sees that nothing more will come.
    pub(super) fn cut(&mut self, now: Instant, peer: usize, bye: Bye, why: &str) {
        let Some(mut feed) = self.feeds[peer].take() else { return };
        feed.push(&Frame::Bye(bye));
        // Full or closed: then nothing is heard anyway.
        let _ = feed.flush();
        self.rights.link_down(now, feed.site);
        self.sessions.link_down(&feed.identity);
        self.status.down(peer, why);
        let _ = self.linked[peer].send(false);
    }

    /// Every link, with the same word.
    pub(super) fn cut_all(&mut self, now: Instant, bye: Bye, why: &str) {
        (0..self.feeds.len()).for_each(|peer| self.cut(now, peer, bye, why));
    }

    pub(super) fn frames(&mut self, now: Instant, line: u64, frames: Vec<Frame>) {
        let Some(peer) = self.peer_of(line) else { return };
        self.status.heard(peer, now);
        for frame in frames {
            let Some(feed) = &mut self.feeds[peer] else { return };
            match frame {
                Frame::Ping { stamp } => feed.push(&Frame::Pong { stamp, clock: now }),
                Frame::Pong { stamp, .. } => self.status.echoed(peer, now, stamp),
                Frame::Rights(message) => self.rights.handle(now, feed.site, message),
                Frame::Sessions(message) => match self.sessions.handle(now, &feed.identity, message) {
                    Reaction::Nothing => {}
                    Reaction::Reply(message) => feed.push(&Frame::Sessions(message)),
                    Reaction::Owes { after } => {
                        feed.owes(after);
                        if !feed.is_behind(&self.sessions) {
                            feed.push(&Frame::Sessions(self.sessions.digest()));
                        }
                    }
                },
                Frame::Terms(message) => match feed.agreement.handle(&self.accounts, &self.shared, message) {
                    Next::Nothing => {}
                    Next::Say(message) => feed.push_terms(message),
                    Next::Judged(found) => self.status.judged(peer, found),
                },
                // The connection ends itself at the other side's last word.
                Frame::Bye(_) => {}
                Frame::Hello(_) => {
                    let (address, what) = (self.status.peers[peer].address, "it greets a second time");
                    self.status.refuse(now, address, Some(peer), Reason::Garbage, what);
                    self.cut(now, peer, Bye::Garbage, what);
                }
            }
        }
    }
}

fn fenced(seen: u32, retired: bool) -> End {
    let what = if retired {
        "it was retired here: give it an empty `data_dir`, and it comes back as a new site".to_owned()
    } else {
        format!("incarnation {seen} of it has been seen: two processes share its identity, or an old disk came back")
    };
    End::refuse(Reason::Fenced, Bye::Fenced, what)
}
