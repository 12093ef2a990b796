"""Multikernel device trees: text and blob read, four dialects understood, one written.

No import from here upward: :mod:`mkrpc.topology` makes a machine of what is described.
"""
