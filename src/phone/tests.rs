//! Two phones, face to face, over a wire that may lose: the phone proved before it proves the appliance.

use super::*;
use crate::base::Transport;
use crate::base::time::Duration;
use std::collections::BTreeMap;

/// Two phones and the wire between them; stream keys are translated as two drivers would.
struct Pair {
    now: Instant,
    phones: [Phone; 2],
    events: [Vec<Event>; 2],
    wire: BTreeMap<(Instant, u64), (usize, Item)>,
    sent: u64,
    loss_percent: u64,
    random: Random,
}

enum Item {
    Datagram(Bytes),
    Open(StreamKey),
    Stream(StreamKey, Bytes),
    Media(u16, Bytes),
}

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1 + index as u8], 5060))
}

impl Pair {
    fn new(seed: u64, transport: Transport, loss_percent: u64) -> Self {
        let mut random = Random::from_u64(seed);
        let phones = [0, 1].map(|index| {
            let mut options = Options::new(["alice", "bob"][index], "example.com", address(index), address(1 - index));
            options.transport = transport;
            Phone::new(options, random.fork())
        });
        Self {
            now: Instant::ZERO,
            phones,
            events: [Vec::new(), Vec::new()],
            wire: BTreeMap::new(),
            sent: 0,
            loss_percent,
            random,
        }
    }

    fn drain(&mut self) {
        for from in 0..2 {
            while let Some(output) = self.phones[from].poll_output() {
                let to = 1 - from;
                let (item, may_get_lost) = match output {
                    Output::Datagram { bytes, .. } => (Item::Datagram(bytes), true),
                    Output::Connect { stream, .. } => (Item::Open(StreamKey(stream.0 | StreamKey::ACCEPTED)), false),
                    Output::Stream { stream, bytes } => {
                        (Item::Stream(StreamKey(stream.0 ^ StreamKey::ACCEPTED), bytes), false)
                    }
                    Output::Media { to, bytes, .. } => (Item::Media(to.port(), bytes), true),
                    Output::Event(event) => {
                        self.events[from].push(event);
                        continue;
                    }
                    Output::CloseStream(_) | Output::OpenMedia(_) | Output::CloseMedia(_) => continue,
                };
                if may_get_lost && self.random.below(100) < self.loss_percent {
                    continue;
                }
                self.sent += 1;
                self.wire.insert((self.now + Duration::from_millis(3), self.sent), (to, item));
            }
        }
    }

    fn deliver(&mut self, to: usize, item: Item) {
        let (now, phone) = (self.now, &mut self.phones[to]);
        match item {
            Item::Datagram(bytes) => phone.handle_datagram(now, address(1 - to), &bytes),
            Item::Open(stream) => phone.handle_stream(now, stream, StreamInput::Open(address(1 - to))),
            Item::Stream(stream, bytes) => {
                for part in bytes.chunks(100) {
                    phone.handle_stream(now, stream, StreamInput::Data(part));
                }
            }
            Item::Media(port, bytes) => phone.handle_media(now, port, &bytes),
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.drain();
        loop {
            let next =
                self.phones.iter().filter_map(Phone::next_deadline).chain(self.wire.keys().map(|key| key.0)).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= next) {
                let (to, item) = entry.remove();
                self.deliver(to, item);
            }
            let now = self.now;
            self.phones.iter_mut().for_each(|phone| phone.handle_timeout(now));
            self.drain();
        }
        self.now = end;
    }

    fn call(&mut self, placing: &Placing) -> Slot {
        self.phones[0].place(self.now, "sip:bob@example.com", placing).unwrap()
    }

    fn incoming(&self) -> Slot {
        self.events[1]
            .iter()
            .find_map(|event| match event {
                Event::Incoming { call, .. } => Some(*call),
                _ => None,
            })
            .unwrap()
    }

    fn end(&mut self) -> [Option<(Cause, Report)>; 2] {
        self.run(Duration::from_secs(200));
        assert!(self.phones.iter().all(Phone::is_idle), "{:?} {:?}", self.events, self.phones);
        assert!(self.phones.iter().all(|phone| phone.served.is_empty() && phone.asked.is_empty()));
        [0, 1].map(|side: usize| {
            self.events[side].iter().find_map(|event| match event {
                Event::Ended { cause, report, .. } => Some((*cause, report.clone())),
                _ => None,
            })
        })
    }
}

fn hold_for(time: Duration) -> Placing {
    Placing { hang_up_after: Some(time), ..Placing::default() }
}

#[test]
fn a_call_carries_every_packet_over_both_transports_and_with_a_late_offer() {
    for transport in [Transport::Udp, Transport::Tcp] {
        for late_offer in [false, true] {
            let mut pair = Pair::new(1, transport, 0);
            let call = pair.call(&Placing { late_offer, ..Placing::default() });
            pair.run(Duration::from_millis(2_000));
            pair.phones[0].dial(call, "42#");
            pair.run(Duration::from_millis(3_100));
            let there = pair.incoming();
            pair.phones[0].mute(call);
            pair.phones[1].mute(there);
            pair.run(Duration::from_millis(20));
            let now = pair.now;
            pair.phones[0].hang_up(now, call);
            let [Some((Cause::Local, a)), Some((Cause::Remote, b))] = pair.end() else { panic!("{:?}", pair.events) };
            assert!(a.sent > 240 && b.sent > 240, "{a:?} {b:?}");
            assert_eq!((a.sent, b.sent, a.corrupt, b.corrupt), (b.received, a.received, 0, 0));
            assert_eq!((a.heard.as_slice(), b.heard.as_slice()), (&[b.ssrc][..], &[a.ssrc][..]));
            assert_eq!((b.digits.as_str(), a.rtcp), ("42#", (1, 1)));
            assert_eq!(pair.phones[0].latency().max() / 100_000, 30);
            assert_eq!(pair.phones.map(|phone| phone.counters().retransmitted), [0, 0]);
        }
    }
}

#[test]
fn a_call_survives_loss() {
    for seed in 0..60 {
        let mut pair = Pair::new(seed, Transport::Udp, 20);
        let call = pair.call(&hold_for(Duration::from_secs(20)));
        pair.run(Duration::from_secs(300));
        let answered = |event: &Event| matches!(event, Event::Established { .. });
        assert!(pair.events[0].iter().any(answered), "seed {seed}: {:?}", pair.events);
        let now = pair.now;
        pair.phones[0].hang_up(now, call);
        let [Some((_, a)), Some((_, b))] = pair.end() else { panic!("seed {seed}: {:?}", pair.events) };
        assert!(a.corrupt + b.corrupt == 0 && a.sent > b.received, "seed {seed}: {a:?} {b:?}");
    }
}

#[test]
fn refusals_silence_and_redirection_reach_the_caller() {
    for (then, deaf, expected) in [
        (Then::Reject(486), false, 486),
        (Then::Redirect("sip:carol@example.com".into()), false, 302),
        (Then::Accept, true, 408),
        (Then::Wait, false, 487),
    ] {
        let mut pair = Pair::new(3, Transport::Udp, 5);
        pair.phones[1].set_answering(Answering { deaf, then, ..Answering::default() });
        pair.call(&Placing { patience: Some(Duration::from_secs(60)), ..Placing::default() });
        pair.end();
        let statuses: Vec<u16> = pair.events[0]
            .iter()
            .filter_map(|event| match event {
                Event::Failed { status, .. } => Some(*status),
                _ => None,
            })
            .collect();
        assert_eq!(statuses, [expected]);
    }
}

#[test]
fn early_media_is_heard_before_the_answer() {
    let mut pair = Pair::new(4, Transport::Udp, 0);
    pair.phones[1].set_answering(Answering {
        provisional: Some(183),
        early_media: true,
        after: Duration::from_secs(2),
        ..Answering::default()
    });
    let call = pair.call(&hold_for(Duration::from_secs(1)));
    pair.run(Duration::from_secs(2));
    assert!(pair.events[0].contains(&Event::Progress { call, status: 183, early_media: true }));
    assert!(pair.phones[0].report(call).unwrap().received > 90);
    let [Some((_, a)), Some((_, b))] = pair.end() else { panic!() };
    assert!(a.received > 140 && b.received > 40 && a.lost == 0, "{a:?} {b:?}");
}

#[test]
fn an_answer_that_crosses_the_cancel_is_acknowledged_and_hung_up() {
    let mut pair = Pair::new(5, Transport::Udp, 0);
    pair.phones[1].set_answering(Answering { after: Duration::from_millis(998), ..Answering::default() });
    pair.call(&Placing { patience: Some(Duration::from_secs(1)), ..Placing::default() });
    let [a, b] = pair.end();
    assert_eq!((a.unwrap().0, b.unwrap().0), (Cause::Local, Cause::Remote));
}

#[test]
fn hold_and_resume_stop_and_start_the_audio() {
    let mut pair = Pair::new(6, Transport::Udp, 0);
    let call = pair.call(&hold_for(Duration::from_secs(30)));
    pair.run(Duration::from_secs(1));
    let (now, there) = (pair.now, pair.incoming());
    pair.phones[0].change(now, call, Direction::Inactive);
    pair.run(Duration::from_secs(1));
    let held = [pair.phones[0].report(call).unwrap().sent, pair.phones[1].report(there).unwrap().sent];
    pair.run(Duration::from_secs(3));
    assert_eq!(held, [pair.phones[0].report(call).unwrap().sent, pair.phones[1].report(there).unwrap().sent]);
    // Both at once: glare, 491, and both get their way in the end.
    let now = pair.now;
    pair.phones[0].change(now, call, Direction::SendRecv);
    pair.phones[1].change(now, there, Direction::SendRecv);
    pair.run(Duration::from_secs(10));
    assert!(pair.phones[0].report(call).unwrap().sent > held[0] + 250);
    let changes = |event: &&Event| matches!(event, Event::Changed { by_us: true, .. });
    assert_eq!(pair.events.each_ref().map(|events| events.iter().filter(changes).count()), [2, 1]);
    let [Some((_, a)), Some((_, b))] = pair.end() else { panic!() };
    assert_eq!((a.lost, b.lost), (0, 0));
}

#[test]
fn an_unacknowledged_answer_ends_in_bye() {
    let mut pair = Pair::new(7, Transport::Udp, 0);
    pair.phones[1].set_answering(Answering { then: Then::Wait, ..Answering::default() });
    pair.call(&Placing::default());
    pair.run(Duration::from_secs(1));
    let (now, there) = (pair.now, pair.incoming());
    pair.phones[1].accept(now, there);
    pair.wire.clear();
    pair.loss_percent = 100;
    pair.run(Duration::from_secs(40));
    pair.loss_percent = 0;
    assert_eq!(pair.end()[1].as_ref().unwrap().0, Cause::Unacknowledged);
}

#[test]
fn bytes_from_anyone_do_no_harm() {
    let mut pair = Pair::new(8, Transport::Udp, 0);
    let call = pair.call(&hold_for(Duration::from_secs(5)));
    pair.run(Duration::from_secs(1));
    let mut random = Random::from_u64(9);
    for _ in 0..2_000 {
        let mut bytes = vec![0; random.below(300) as usize];
        random.fill(&mut bytes);
        let now = pair.now;
        pair.phones[0].handle_datagram(now, address(1), &bytes);
        pair.phones[0].handle_media(now, 20_000 + (random.below(4) as u16), &bytes);
    }
    assert!(pair.phones[0].report(call).unwrap().corrupt > 0);
    let [Some((_, a)), Some((_, b))] = pair.end() else { panic!() };
    assert_eq!((a.received, b.received), (b.sent, a.sent));
}

#[test]
fn a_second_answer_of_a_forked_call_is_acknowledged_and_hung_up() {
    let mut pair = Pair::new(10, Transport::Udp, 0);
    let call = pair.call(&Placing::default());
    pair.run(Duration::from_millis(4));
    let invite = pair.phones[1].served.values().next().unwrap().request.clone();
    pair.run(Duration::from_millis(500));
    // Another phone behind a proxy answers the same INVITE.
    let mut second = Text { start: "SIP/2.0 200 OK".to_owned(), ..Text::default() };
    for name in ["Via", "From", "Call-ID", "CSeq"] {
        second.push(name, invite.get(name).unwrap());
    }
    second.push("To", "<sip:bob@example.com>;tag=other").push("Contact", "<sip:bob@10.0.0.9>");
    let (now, bytes) = (pair.now, second.write());
    let mut sent = Vec::new();
    for _ in 0..2 {
        pair.phones[0].handle_datagram(now, address(1), &bytes);
        while let Some(output) = pair.phones[0].poll_output() {
            if let Output::Datagram { to, bytes } = output {
                sent.push((to.to_string(), Text::parse(&bytes).unwrap().method().unwrap().to_owned()));
            }
        }
    }
    let to = || "10.0.0.9:5060".to_owned();
    // The ACK goes again for the copy, the BYE does not.
    assert_eq!(sent, [(to(), "ACK".to_owned()), (to(), "BYE".to_owned()), (to(), "ACK".to_owned())]);
    assert_eq!((pair.phones[0].counters().forked, pair.phones[0].calls()), (1, 1));
    let now = pair.now;
    pair.phones[0].hang_up(now, call);
    assert_eq!(pair.end()[0].as_ref().map(|end| end.0), Some(Cause::Local));
}

#[test]
fn a_registration_lives_until_it_is_taken_back() {
    let mut options = Options::new("alice", "example.com", address(0), address(1));
    options.login = Some(Login { username: "alice".into(), password: "secret".into() });
    options.expires = 100;
    let mut phone = Phone::new(options, Random::from_u64(11));
    let mut now = Instant::ZERO;
    let answer = |phone: &mut Phone, now: Instant, status: &str, lines: &[(&str, &str)]| {
        let Some(Output::Datagram { bytes, .. }) = phone.poll_output() else { panic!() };
        let request = Text::parse(&bytes).unwrap();
        let mut response = Text { start: format!("SIP/2.0 {status}"), ..Text::default() };
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            response.push(name, request.get(name).unwrap());
        }
        for (name, value) in lines {
            response.push(name, *value);
        }
        phone.handle_datagram(now, address(1), &response.write());
        request
    };
    phone.register(now);
    let challenge = ("WWW-Authenticate", "Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256");
    answer(&mut phone, now, "401 Unauthorized", &[challenge]);
    let bound = answer(&mut phone, now, "423 Interval Too Brief", &[("Min-Expires", "200")]);
    assert!(bound.get("Authorization").unwrap().contains("nc=00000001"));
    let contact = ("Contact", "<sip:alice@10.0.0.1:5060>;expires=200");
    let longer = answer(&mut phone, now, "200 OK", &[contact]);
    assert_eq!((longer.get("Expires"), longer.cseq().unwrap().0), (Some("200"), 3));
    let Some(Output::Event(event)) = phone.poll_output() else { panic!() };
    assert_eq!(event, Event::Registered { expires: 200, contacts: 1 });
    now += Duration::from_secs(100);
    phone.handle_timeout(now);
    let stale = ("WWW-Authenticate", "Digest realm=\"r\", nonce=\"m\", qop=\"auth\", algorithm=MD5, stale=true");
    let refreshed = answer(&mut phone, now, "401 Unauthorized", &[stale]);
    assert!(refreshed.get("Authorization").unwrap().contains("nc=00000003"));
    let again = answer(&mut phone, now, "200 OK", &[contact]);
    assert!(again.get("Authorization").unwrap().contains("nonce=\"m\""));
    assert!(matches!(phone.poll_output(), Some(Output::Event(Event::Registered { .. }))));
    phone.unregister(now);
    let last = answer(&mut phone, now, "200 OK", &[]);
    assert!(last.get("Contact").unwrap().ends_with(";expires=0"));
    assert!(matches!(phone.poll_output(), Some(Output::Event(Event::Unregistered { contacts: 0 }))));
}
