//! Session descriptions, well and badly formed (RFC 8866).
