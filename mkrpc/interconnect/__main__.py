"""``python -m mkrpc.interconnect``: see :mod:`mkrpc.interconnect.by_hand`."""

from mkrpc.early_interrupt import quiet_imports

with quiet_imports():
    from mkrpc.interconnect.by_hand import main

main(prog_name="python -m mkrpc.interconnect")
