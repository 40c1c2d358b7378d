//! One stream from first packet to report.
