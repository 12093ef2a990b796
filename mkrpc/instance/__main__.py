"""``python -m mkrpc.instance``: see :mod:`mkrpc.instance.by_hand`."""

from mkrpc.early_interrupt import quiet_imports

with quiet_imports():
    from mkrpc.instance.by_hand import main

main(prog_name="python -m mkrpc.instance")
