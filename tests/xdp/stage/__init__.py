"""The appliance between two networks, with its fast path on both devices."""
