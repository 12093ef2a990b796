"""Everything that one simulated run can do, drawn whole from its seed.

A run is a seed and a commit: :meth:`Options.draw` draws these options from the seed, :mod:`plan`
draws from them what happens when, and nothing else chooses. Chance is an argument everywhere.
Each kind of fault is left out of about half of the runs, so that a run is not always all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from mkrpc.x86.apic_policy import ApicPolicy
from mkrpc.x86.lapic import ApicMode

__all__ = [
    "FAULT_KINDS",
    "FaultKind",
    "InstanceOptions",
    "LinkOptions",
    "Options",
    "Rng",
    "RngSource",
]

ItemT = TypeVar("ItemT")


class Rng(Protocol):
    """Where chance comes from: the part of ``random.Random`` that is used here."""

    def random(self) -> float:
        """From 0.0 to below 1.0."""

    def randrange(self, start: int, stop: int, /) -> int:
        """From ``start`` to ``stop - 1``."""

    def choice(self, seq: Sequence[ItemT], /) -> ItemT:
        """One of them."""


RngSource = Callable[[str], Rng]
"""Gives the stream of chance of a name, such as ``7/faults``; equal names give equal streams."""

FaultKind = Literal[
    "cut",
    "stall",
    "turn",
    "crash",
    "leave",
    "pause",
    "busy",
    "hub-pause",
    "reconnect",
    "leap",
    "hub-leap",
    "slow",
    "reorder",
    "drop",
    "hub-crash",
]

FAULT_KINDS: tuple[FaultKind, ...] = (
    "cut",
    "stall",
    "turn",
    "crash",
    "leave",
    "pause",
    "busy",
    "hub-pause",
    "reconnect",
    "leap",
    "hub-leap",
    "slow",
    "reorder",
    "hub-crash",
)
"""``cut``: a stream breaks with what is on its way. ``stall``: a one-way partition. ``turn``: one
downward, then one upward, then one downward again. ``crash``: kill -9. ``leave``: an instance says
goodbye. ``pause``: SIGSTOP and SIGCONT of an instance; ``hub-pause``: of the interconnect.
``busy``: an instance does nothing but beat by a way of its own, as when a handler runs for long.
``reconnect``: an instance gives up a stream that stands. ``leap``: the monotonic clock of an
instance leaps forward, as after a suspend; ``hub-leap``: that of the interconnect, as far as it
may. ``slow``: whoever reads in one direction is slow for long. ``reorder``: a cut all of whose
catch comes late, in any order, among what is sent over the next streams. ``hub-crash``: kill -9 of
the interconnect; another one begins after a while. One more kind is drawn apart, by
:attr:`Options.drops`: ``drop``, IPIs that are swallowed by name, as by ``mkrpc fault drop``."""

_LEASES_US = (30_000, 60_000, 150_000)
"""Times within which a link can be given up and another one be welcomed."""
_MOST_INSTANCES = 5
_DRIFT_PPM = 20_000
"""Below what the lease allows for (:data:`mkrpc.interconnect.lease.CLOCK_DRIFT_SHARE`)."""
_DROP_SHARE = 0.25
"""Of the runs, this much has faults that swallow IPIs: what they swallow can show nothing else."""
_BURSTS = ((1, 1, 2, 5), (1, 3, 20), (1, 1, 1, 40, 1_200))
_LONG_BURSTS = (1, 1, 1, 1, 1, 5_000)
"""Beyond a source's window of outstanding writes."""
_POLICIES = (
    ApicPolicy(),
    ApicPolicy(),
    ApicPolicy(lowest_priority="unsupported", global_disable="keep"),
    ApicPolicy(pending_while_software_disabled="deliver", self_ipi_stored_in_icr=True),
    ApicPolicy(invalid_combination="drop", nmi_while_software_disabled="drop"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """One direction of the streams between an instance and the interconnect, in microseconds.

    A frame takes ``delay_us`` and up to ``jitter_us`` more, in order. ``service_us``: the reader
    takes so long for one. ``capacity``: frames on their way before the writer must wait.
    """

    delay_us: int
    jitter_us: int
    service_us: int
    capacity: int

    @classmethod
    def draw(cls, rng: Rng) -> "LinkOptions":
        """A fast link, or at times a slow one, or one with a slow reader."""
        slow = rng.random() < 0.15
        return cls(
            delay_us=rng.randrange(5, 2_000 if slow else 200),
            jitter_us=rng.choice((1, 20, 200, 2_000)),
            service_us=rng.randrange(200, 900) if rng.random() < 0.1 else rng.randrange(1, 20),
            capacity=rng.choice((1, 2, 4, 16)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceOptions:
    """One instance. Its clock gains ``drift_ppm`` on the interconnect's, from ``offset_us`` on.

    ``budget``: instruction boundaries in one turn; ``turn_us``: the time of one. ``handler``: what
    it registers for the multikernel interrupt. ``gates``: it writes gates of its own, one that owes
    an EOI and one that enables interrupts.
    """

    instance_id: int
    apic_ids: tuple[int, ...]
    mode: ApicMode
    boundary: Literal["word", "frame"]
    xapic_ldr: Literal["zero", "flat"]
    apic_policy: ApicPolicy
    panic_on_oops: bool
    drift_ppm: int
    offset_us: int
    up: LinkOptions
    down: LinkOptions
    budget: int
    turn_us: int
    handler: Literal["none", "function", "generator", "oops"]
    gates: bool

    @classmethod
    def draw(
        cls, rng: Rng, *, instance_id: int, first_apic_id: int, skewed: bool
    ) -> "InstanceOptions":
        """An instance of 1 to 4 CPUs."""
        cpus = rng.randrange(1, 5)
        drift = rng.randrange(-_DRIFT_PPM, _DRIFT_PPM + 1) if skewed else 0
        return cls(
            instance_id=instance_id,
            apic_ids=tuple(range(first_apic_id, first_apic_id + cpus)),
            mode=rng.choice((ApicMode.X2APIC, ApicMode.X2APIC, ApicMode.XAPIC)),
            boundary=rng.choice(("word", "word", "frame")),
            xapic_ldr=rng.choice(("flat", "flat", "zero")),
            apic_policy=rng.choice(_POLICIES),
            panic_on_oops=rng.random() < 0.1,
            drift_ppm=drift,
            offset_us=rng.randrange(0, 1_000_000) if skewed else 0,
            up=LinkOptions.draw(rng),
            down=LinkOptions.draw(rng),
            budget=rng.choice((1, 4, 16, 64)),
            turn_us=rng.randrange(1, 100),
            handler=rng.choice(("none", "function", "function", "generator", "oops")),
            gates=rng.random() < 0.3,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One run. Times are microseconds of virtual time; shares are probabilities.

    Steps and faults happen in the first ``busy_us``; then all faults end, and within ``settle_us``
    the machine must come to rest. ``tick_us``: a client rings somebody each time it has passed; 0
    for never. ``faults`` says how many there are of each kind. ``late_share``:
    of what a cut catches, this much arrives after all, late and over a link that is no more.
    ``duplicate_share``: of the frames, this much arrives twice. ``half_open_share``: of the cuts,
    this much is noticed by one side alone, ``notice_us`` at most after it. ``agent_share``: of the
    deaths, this much a host agent reports. ``own_beats``: instances beat by a way of their own too,
    while their streams are silent. ``hub_lag_us``: the interconnect reads frames at once, and
    applies one of each stream in such a time. ``ring_backs``: ICR writes of handlers, in all.
    ``drops``: faults that swallow IPIs. ``snapshot_us``: the books of those who live are on the
    interconnect's disk as they were so long ago at most. ``callers``: clients that send bursts of
    different words, and words one by one, over streams; a run has them if it is asked for.
    """

    instances: tuple[InstanceOptions, ...]
    policy: Literal["bare-metal", "filtered"]
    lease_us: int
    busy_us: int
    settle_us: int
    steps: int
    tick_us: int
    clients: int
    bursts: tuple[int, ...]
    faults: tuple[tuple[FaultKind, int], ...]
    late_share: float
    duplicate_share: float
    half_open_share: float
    notice_us: int
    agent_share: float
    own_beats: bool
    hub_lag_us: int
    restart_us: int
    ring_backs: int
    drops: int
    snapshot_us: int
    callers: int = 0

    @classmethod
    def draw(cls, rng: Rng) -> "Options":
        """The options of a seed, from its stream ``options``."""
        lease_us = rng.choice(_LEASES_US)
        skewed = rng.random() < 0.5
        apic_id = 0
        instances = []
        for instance_id in range(rng.randrange(2, _MOST_INSTANCES + 1)):
            each = InstanceOptions.draw(
                rng, instance_id=instance_id, first_apic_id=apic_id, skewed=skewed
            )
            apic_id += len(each.apic_ids) + rng.choice((0, 0, 1))
            instances.append(each)
        busy_us = rng.randrange(2 * lease_us, 6 * lease_us)
        return cls(
            instances=tuple(instances),
            policy=rng.choice(("bare-metal", "bare-metal", "filtered")),
            lease_us=lease_us,
            busy_us=busy_us,
            settle_us=6 * lease_us + 500_000,
            steps=rng.randrange(10, 60),
            tick_us=lease_us // 6 if rng.random() < 0.4 else 0,
            clients=rng.randrange(1, 4),
            bursts=_LONG_BURSTS if rng.random() < 0.06 else rng.choice(_BURSTS),
            faults=tuple(
                (kind, 0 if rng.random() < 0.5 else rng.randrange(1, 5)) for kind in FAULT_KINDS
            ),
            late_share=rng.choice((0.0, 0.2, 0.8)),
            duplicate_share=rng.choice((0.0, 0.0, 0.02, 0.2)),
            half_open_share=rng.choice((0.0, 0.3)),
            notice_us=rng.randrange(10, lease_us // 2),
            agent_share=rng.choice((0.0, 0.5, 1.0)),
            own_beats=rng.random() < 0.5,
            hub_lag_us=rng.choice((0, 0, 20, 500, 2_000)),
            restart_us=rng.randrange(100, lease_us),
            ring_backs=rng.choice((0, 50, 500)),
            drops=rng.randrange(1, 4) if rng.random() < _DROP_SHARE else 0,
            snapshot_us=rng.randrange(100, lease_us),
        )
