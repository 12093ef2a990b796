"""What an instance starts with, and how it comes from a topology."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dill

from mkrpc.instance.config import KernelConfig, kernel_config
from mkrpc.instance.programs import load_entry
from mkrpc.journal.recorder import Recording
from mkrpc.transport.address import Address, beside, parse

if TYPE_CHECKING:
    # Only a name here: the validation behind it is nothing that hundreds of instances need.
    from mkrpc.topology import Topology

__all__ = ["Boot", "boot_from_entries", "boot_from_topology", "load_callables"]

Callables = Mapping[str, Mapping[int, list[Callable[..., Any]]]]
"""``programs`` by APIC id and ``handlers`` by instance id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What an instance starts with.

    ``address``: where it reaches the interconnect. ``beats``: where it beats past its stream; None:
    where the welcome says, empty: nowhere. ``programs``: what runs on which CPU, by its number in
    the instance. ``handlers`` are registered for MULTIKERNEL_VECTOR. ``memory``: a file that every
    instance of the host maps, or None. ``recording``: where it keeps a journal, or None.
    """

    config: KernelConfig
    address: str
    beats: str | None = None
    programs: Sequence[tuple[int, Callable[..., Any]]] = ()
    handlers: Sequence[Callable[..., Any]] = ()
    memory: Path | None = None
    recording: Recording | None = None
    on_attached: Callable[[], None] = field(default=lambda: None)

    def beats_at(self, told: str) -> Address | None:
        """Where to beat past the stream, ``told`` being what the welcome says; None for nowhere."""
        if self.beats is not None:
            return parse(self.beats) if self.beats else None
        return beside(parse(self.address), told) if told else None


def boot_from_topology(
    topology: "Topology",
    instance_id: int,
    *,
    address: str,
    beats: str | None = None,
    memory: Path | None = None,
    callables: Callables | None = None,
    recording: Recording | None = None,
    on_attached: Callable[[], None] = lambda: None,
) -> Boot:
    """What the instance starts with: its topology's programs, then the callables of a script.

    Raises :class:`mkrpc.errors.TopologyError` for an entry that names nothing.
    """
    spec = topology.instance(instance_id)
    return boot_from_entries(
        kernel_config(topology, instance_id),
        programs=[(program.cpu, program.entry) for program in spec.programs],
        handlers=spec.handlers,
        address=address,
        beats=beats,
        memory=memory,
        callables=callables,
        recording=recording,
        on_attached=on_attached,
    )


def boot_from_entries(
    config: KernelConfig,
    *,
    programs: Iterable[tuple[int, str]],
    handlers: Iterable[str],
    address: str,
    beats: str | None = None,
    memory: Path | None = None,
    callables: Callables | None = None,
    recording: Recording | None = None,
    on_attached: Callable[[], None] = lambda: None,
) -> Boot:
    """The same, from what somebody has taken out of the topology: whoever starts hundreds of
    instances validates once, and none of them loads what that takes."""
    given = callables or {}
    loaded = [(cpu, load_entry(entry)) for cpu, entry in programs]
    for apic_id, found in given.get("programs", {}).items():
        if apic_id in config.apic_ids:
            loaded += [(config.apic_ids.index(apic_id), program) for program in found]
    called = [load_entry(entry) for entry in handlers]
    called += given.get("handlers", {}).get(config.instance_id, [])
    return Boot(
        config=config,
        address=address,
        beats=beats,
        programs=loaded,
        handlers=called,
        memory=memory,
        recording=recording,
        on_attached=on_attached,
    )


def load_callables(path: Path) -> Callables | None:
    """What a script gave to its cluster; None if it gave nothing.

    The file lies in the cluster's private directory (0700): nothing pickled crosses the network.
    """
    if not path.exists():
        return None
    found: Callables = dill.loads(path.read_bytes())
    return found
