//! One suite that every driver passes: what `strowger::io::Driver` promises, checked against the kernel on loopback.

mod batched;
mod hand_over;
mod harness;
mod streams;
mod udp;
mod wake;

/// Makes each listed function a test of each driver.
macro_rules! on_every_driver {
    ($($test:ident),* $(,)?) => {
        mod epoll {
            $(#[test] fn $test() { super::$test($crate::harness::epoll); })*
        }
        mod uring {
            $(#[test] fn $test() {
                if $crate::harness::uring_usable() { super::$test($crate::harness::uring); }
            })*
        }
    };
}
pub(crate) use on_every_driver;
