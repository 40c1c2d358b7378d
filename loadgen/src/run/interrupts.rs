//! Ctrl-C, SIGTERM and the loss of the terminal, counted.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{SignalKind, signal};

/// Counts Ctrl-C, the same for all runs of this process.
pub fn watch() -> Arc<AtomicU32> {
    static COUNT: OnceLock<Arc<AtomicU32>> = OnceLock::new();
    COUNT.get_or_init(count_interrupts).clone()
}

/// Counts from a thread of its own. SIGTERM and the loss of the terminal count as a second Ctrl-C: end now, and report.
fn count_interrupts() -> Arc<AtomicU32> {
    let count = Arc::new(AtomicU32::new(0));
    let counter = count.clone();
    let watch = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        let kinds = [(SignalKind::interrupt(), 1), (SignalKind::terminate(), 2), (SignalKind::hangup(), 2)];
        for (kind, weight) in
            kinds.into_iter().filter(|(kind, _)| *kind != SignalKind::hangup() || !hangup_is_ignored())
        {
            let counter = counter.clone();
            runtime.spawn(async move {
                let Ok(mut signals) = signal(kind) else { return };
                while signals.recv().await.is_some() {
                    counter.fetch_add(weight, Ordering::Relaxed);
                }
            });
        }
        runtime.block_on(std::future::pending::<()>());
    };
    // Without the thread, a signal ends the process at once, as it does by default.
    let _ = std::thread::Builder::new().name("interrupts".into()).spawn(watch);
    count
}

/// What `nohup` ignores stays ignored: signal 1, the lowest bit of a mask in hexadecimal.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
