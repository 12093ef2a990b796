"""``python -m mkrpc.cli``: the command line without its installed script."""

from mkrpc.cli import main

main(prog_name="mkrpc")
