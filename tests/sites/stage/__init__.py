"""The three sites, the network between them, who calls, and who counts."""
