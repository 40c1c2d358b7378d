//! Loss, jitter and MOS against figures worked out by hand (RFC 3550, G.107).
