//! Getting connected: every peer is dialled until a link stands, and whoever dials is answered.
//!
//! Owned by the links. Both sides may dial. Of two connections the keeper keeps the one that the site with the smaller
//! name has dialled; the other site dials a little later, so that there seldom are two.

use std::sync::Arc;
use std::time::Duration;

use quinn::Incoming;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::talk::{Site, talk};
use super::tls::SILENCE_MAX;
use crate::base::Random;

/// First and longest pause between two attempts.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// How much later the site with the larger name dials.
const POLITENESS: Duration = Duration::from_millis(300);
/// A link that stood for this long was a good one: the next attempt comes at once.
const GOOD: Duration = Duration::from_secs(10);
/// Connections from others that are not greeted yet.
const HANDSHAKES_MAX: usize = 64;

/// Dials a peer whenever no link to it stands.
pub async fn dial(site: Arc<Site>, peer: usize, mut random: Random) {
    let (name, address) = (Arc::clone(&site.status.peers[peer].name), site.status.peers[peer].address);
    let (mut linked, mut resting) = (site.linked[peer].clone(), site.resting.subscribe());
    let polite = if *name < *site.me.name { POLITENESS } else { Duration::ZERO };
    let mut pause = PAUSE_MIN;
    loop {
        let waits = site.clock.now();
        if linked.wait_for(|linked| !linked).await.is_err() {
            return;
        }
        let rested = *resting.borrow_and_update();
        if resting.wait_for(|resting| !resting).await.is_err() {
            return;
        }
        if rested || site.clock.now().since(waits) >= GOOD {
            pause = PAUSE_MIN;
        }
        let jitter = Duration::from_micros(random.below(pause.as_micros() as u64 + 1));
        if timeout(polite + pause / 2 + jitter, linked.wait_for(|linked| *linked)).await.is_ok() {
            continue;
        }
        if *resting.borrow() {
            continue;
        }
        let began = site.clock.now();
        let end = match site.endpoint.connect(address, &name) {
            Ok(connecting) => match timeout(SILENCE_MAX, connecting).await {
                // It may have taken long, and the other side was quicker.
                Ok(Ok(_)) if *linked.borrow() => continue,
                Ok(Ok(connection)) => talk(&site, &connection, Some(peer)).await,
                Ok(Err(error)) => error.into(),
                Err(_) => continue,
            },
            Err(error) => {
                tracing::error!(peer = %name, %address, %error, "a peer cannot be dialled");
                sleep(PAUSE_MAX).await;
                continue;
            }
        };
        site.ended(address, Some(peer), &end);
        let good = site.clock.now().since(began) >= GOOD;
        pause = if good { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
    }
}

/// Answers whoever dials.
pub async fn answer(site: Arc<Site>) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while let Some(incoming) = site.endpoint.accept().await {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let site = Arc::clone(&site);
        tokio::spawn(async move {
            greet(&site, incoming, place).await;
        });
    }
}

async fn greet(site: &Site, incoming: Incoming, place: tokio::sync::OwnedSemaphorePermit) {
    let from = incoming.remote_address();
    let peer = site.status.peer_at(from);
    let connected = async { incoming.accept()?.await };
    let end = match timeout(SILENCE_MAX, connected).await {
        Ok(Ok(connection)) => {
            drop(place);
            talk(site, &connection, None).await
        }
        Ok(Err(error)) => error.into(),
        Err(_) => return,
    };
    site.ended(from, peer, &end);
}
