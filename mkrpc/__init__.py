"""A multikernel x86 machine in software.

Each kernel instance is a process with emulated CPUs; every write to a local APIC's interrupt
command register travels as a gRPC message through one interconnect. The names below are imported
when they are first used, so that the pure rooms can be imported without gRPC.
"""

import importlib
from typing import TYPE_CHECKING, Any

from mkrpc.compiled import finder as _finder

if TYPE_CHECKING:
    from mkrpc.client import Client, apic, icr, logical, shorthand
    from mkrpc.cluster import Cluster
    from mkrpc.outcome import Outcome
    from mkrpc.simulation.machine import Machine
    from mkrpc.topology import Topology

__all__ = [
    "Client",
    "Cluster",
    "Machine",
    "Outcome",
    "Topology",
    "apic",
    "icr",
    "logical",
    "shorthand",
]

_finder.install()

_HOMES = {
    "Client": "mkrpc.client",
    "Cluster": "mkrpc.cluster",
    "Machine": "mkrpc.simulation.machine",
    "Outcome": "mkrpc.outcome",
    "Topology": "mkrpc.topology",
    "apic": "mkrpc.client",
    "icr": "mkrpc.client",
    "logical": "mkrpc.client",
    "shorthand": "mkrpc.client",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its room."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'mkrpc' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
