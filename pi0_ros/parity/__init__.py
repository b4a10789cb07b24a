"""Recorded cases of the reference projects against ours: one row per output. `pi0 parity` prints them."""
