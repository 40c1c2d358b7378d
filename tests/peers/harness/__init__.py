"""Real peers against a running Strowger: SIPp, baresip and linphonec, on loopback only."""
