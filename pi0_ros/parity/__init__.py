"""Recorded cases of the reference projects against ours: one row an output. `pi0 parity` prints them."""
