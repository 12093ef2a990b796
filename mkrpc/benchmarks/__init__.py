"""Measurements that a user can run: each is a command, `python -m mkrpc.benchmarks.NAME`."""
