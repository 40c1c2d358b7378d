//! From the command line to what some calls do besides; what cannot happen is refused before anything is sent.

use std::sync::Arc;

use crate::cli::{self, Audio, Calls};
use crate::core::Role;
use crate::core::audio::Frames;
use crate::core::flow::{Flow, Reinvite};
use crate::core::recording;
use crate::preflight::Trouble;
use crate::sound::g711::Codec;

/// The plan of `calls`.
pub fn plan(options: &Calls) -> Result<Flow, Trouble> {
    let flow = &options.flow;
    let codec = if options.rtp == cli::Codec::Pcma { Codec::Pcma } else { Codec::Pcmu };
    sensible(options)?;
    let reinvite = Reinvite {
        percent: flow.reinvite,
        after: flow.reinvite_after,
        on_hold: flow.on_hold,
        by: if flow.reinvite_by == cli::Side::Uac { Role::Uac } else { Role::Uas },
    };
    Ok(Flow {
        codec,
        frames: frames(&options.audio, codec)?,
        cancel: (flow.cancel > 0.0).then_some((flow.cancel, flow.cancel_after)),
        answers: flow.answer_with.clone(),
        early_media: flow.early_media,
        reinvite: (flow.reinvite > 0.0).then_some(reinvite),
    })
}

fn sensible(options: &Calls) -> Result<(), Trouble> {
    let (flow, ring) = (&options.flow, options.ring);
    let wrong = |sentence: String| Err(Trouble::usage(sentence));
    let answers = !options.uac;
    if flow.early_media > 0.0 && options.rtp == cli::Codec::Off {
        return wrong("--early-media needs RTP: leave out --rtp off".into());
    }
    if flow.early_media > 0.0 && answers && ring.is_zero() {
        return wrong("--early-media: the calls are answered at once; say how long they ring, as in --ring 2s".into());
    }
    if flow.cancel > 0.0 && answers && ring <= flow.cancel_after {
        let after = flow.cancel_after;
        return wrong(format!(
            "--cancel: after {after:?} of ringing the calls are answered already; give a --ring longer than --cancel-after"
        ));
    }
    if flow.answer_with.iter().map(|&(_, percent)| percent).sum::<f64>() > 100.0 {
        return wrong("--answer-with: the shares are more than all calls; they may sum up to 100%".into());
    }
    if flow.reinvite > 0.0 && options.hold.longest() <= flow.reinvite_after {
        return wrong("--reinvite: the calls end before --reinvite-after; give a longer --hold".into());
    }
    if flow.on_hold.is_some() && flow.reinvite == 0.0 {
        return wrong("--on-hold: say how many calls are put on hold, as in --reinvite 20%".into());
    }
    Ok(())
}

/// What `--rtp-from` names; nothing for the pattern.
pub fn frames(audio: &Audio, codec: Codec) -> Result<Option<Arc<Frames>>, Trouble> {
    let found = match audio.rtp_from.as_str() {
        "pattern" => None,
        "silence" => Frames::silence(codec),
        "tone" => Frames::tone(codec),
        file => {
            let wrong = |why: String| Trouble::usage(format!("--rtp-from {file}: {why}"));
            let bytes = std::fs::read(file).map_err(|error| {
                wrong(format!("{error}; write pattern, silence, tone, or the name of a WAV or pcap file"))
            })?;
            Some(recording::read(&bytes, codec).map_err(|why| wrong(format!("the file {why}")))?)
        }
    };
    Ok(found.map(Arc::new))
}
