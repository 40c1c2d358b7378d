//! The program in the kernel does what `media::relay::apply` says: fixtures and a million random frames give the same
//! verdict, the same octets and the same counts through the program (a BPF test run) and through a model of their own built
//! from `apply`. What the program cannot be run for (no permission) is said, and is a failure with `STROWGER_NEEDS_BPF=1`.

mod fixtures;
mod frames;
mod model;
mod random;
mod stage;
