"""The pure model of an x86 CPU's interrupt side, in SDM and Linux names."""
