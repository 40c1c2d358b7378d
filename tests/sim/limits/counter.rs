//! What others do: a counter that every site tells the others once a second, and a check against the sum. It converges,
//! and it does not bound: checking and adding race across sites. Kept to show that the checker would see it.

use super::plan::SECOND;
use strowger::base::Random;

const SITES: usize = 3;
const LIMIT: u32 = 10;
const MINUTES: u64 = 5;
const STEP: u64 = SECOND / 50;

/// The most calls that were up at once beyond the limit, in five minutes at three times the load.
pub fn worst_excess(seed: u64) -> u32 {
    let mut random = Random::from_u64(seed);
    // Each site counts its own calls; `seen[a][b]` is what a knows of b.
    let mut calls: Vec<Vec<u64>> = vec![Vec::new(); SITES];
    let mut seen = [[0u32; SITES]; SITES];
    let mut worst = 0;
    let mut cut_until = 0;
    for step in 0..MINUTES * 60 * SECOND / STEP {
        let now = step * STEP;
        for (site, up) in calls.iter_mut().enumerate() {
            up.retain(|ends_at| *ends_at > now);
            seen[site][site] = up.len() as u32;
            let arrives = random.below(10 * SECOND / STEP / u64::from(LIMIT)) == 0;
            if arrives && seen[site].iter().sum::<u32>() < LIMIT {
                up.push(now + random.below(20 * SECOND));
                seen[site][site] += 1;
            }
        }
        if random.below(60 * SECOND / STEP) == 0 {
            cut_until = now + random.below(10 * SECOND);
        }
        if now.is_multiple_of(SECOND) && now >= cut_until {
            let told: Vec<u32> = calls.iter().map(|up| up.len() as u32).collect();
            for row in &mut seen {
                row.copy_from_slice(&told);
            }
        }
        let up: usize = calls.iter().map(Vec::len).sum();
        worst = worst.max((up as u32).saturating_sub(LIMIT));
    }
    worst
}
