//! What the fuzz targets do with their octets. `tests/fuzz_corpus.rs` includes this file and replays `fuzz/corpus/NAME/*`
//! through the same functions, so that plain `cargo test` holds what fuzzing once found.
//!
//! To add a target: a module here with `pub fn run(octets: &[u8])`, a row in [`TARGETS`], a file in `fuzz_targets/`, a
//! `[[bin]]` in `Cargo.toml`, and a few small files in `corpus/NAME/`. A target panics on what must not be.
//!
//! With cargo-fuzz: `cargo +nightly fuzz run message`. With the stable compiler: `fuzz/run message 60` (seconds).

pub mod config;
pub mod digest;
pub mod framing;
pub mod link;
pub mod media;
pub mod message;
pub mod sdp;
pub mod shard;
pub mod uri;

/// A target: its name and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All targets; the name is that of the corpus folder and of the file in `fuzz_targets/`.
pub const TARGETS: &[Target] = &[
    ("config", config::run),
    ("digest", digest::run),
    ("framing", framing::run),
    ("link", link::run),
    ("media", media::run),
    ("message", message::run),
    ("sdp", sdp::run),
    ("shard", shard::run),
    ("uri", uri::run),
];
