//! Many streams: ports, bounds, balance.
