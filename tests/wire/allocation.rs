//! Reading a message and its fields allocates nothing; writing into a buffer with room allocates at most the list of edits.

use std::hint::black_box;

use strowger::sip::wire::{Builder, Framing, HeaderName, Index, Rewrite, parse};

use crate::counting;
use crate::generate::{Style, generate};

fn allocations(work: impl FnOnce()) -> u64 {
    let before = counting::allocations();
    work();
    counting::allocations() - before
}

#[test]
fn reading_allocates_nothing() {
    let messages: Vec<_> = (0..200).map(|seed| generate(seed, Style::Free).bytes).collect();
    let mut index = Index::new();
    let count = allocations(|| {
        for bytes in &messages {
            let message = parse(bytes, &mut index, Framing::Datagram).expect("generated messages are well-formed");
            black_box((message.uri(), message.via().branch(), message.from().tag(), message.to().tag()));
            black_box((message.call_id(), message.cseq(), message.max_forwards(), message.body()));
            black_box(message.vias().count() + message.contacts().count() + message.routes().count());
            black_box(message.headers().count());
            black_box(message.contact().map(|contact| (contact.uri().host(), contact.q())));
            black_box(message.header_named(b"x-custom-0"));
        }
    });
    assert_eq!(count, 0);
    assert!(allocations(|| drop(black_box(vec![1u8]))) > 0, "the counter counts");
}

#[test]
fn writing_allocates_the_list_of_edits_and_no_more() {
    let bytes = generate(3, Style::Free).bytes;
    let mut index = Index::new();
    let message = parse(&bytes, &mut index, Framing::Datagram).expect("generated messages are well-formed");
    let mut out = Vec::with_capacity(4096);
    let count = allocations(|| {
        let mut rewrite = Rewrite::new(message);
        rewrite.set(HeaderName::MaxForwards, &b"69"[..]).remove(HeaderName::Route);
        rewrite.prepend(HeaderName::Via, &b"SIP/2.0/UDP own.example;branch=z9hG4bKown"[..]);
        rewrite.write(&mut out);
    });
    assert_eq!(count, 1);
    out.clear();
    let count = allocations(|| {
        Builder::response(&mut out, &message, 180, "Ringing", Some(b"tag")).number(HeaderName::Expires, 5).finish();
    });
    assert_eq!(count, 0);
}
