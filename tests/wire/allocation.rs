//! Reading a message and its fields allocates nothing; writing into a buffer with room allocates at most the list of edits.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use strowger::sip::wire::{Builder, Framing, HeaderName, Index, Rewrite, parse};

use crate::generate::{Style, generate};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Counts the allocations of each thread by itself: other tests run beside this one.
struct Counting;

// SAFETY: all calls go to the system's allocator unchanged; the counter is a cell of the thread without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = COUNT.get();
    work();
    COUNT.get() - before
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
