"""The typed Python client of a cluster: :class:`Client`, destinations, and what it answers."""

from mkrpc.client.answers import IpiResult, LegCount
from mkrpc.client.client import Client
from mkrpc.client.destination import apic, icr, instance, logical, shorthand

__all__ = ["Client", "IpiResult", "LegCount", "apic", "icr", "instance", "logical", "shorthand"]
