"""Faults of a simulated run as they happen: what each kind does to the machine."""

from dataclasses import replace
from typing import TYPE_CHECKING

from mkrpc.simulation.plan import Fault

if TYPE_CHECKING:
    from mkrpc.simulation.node import Node
    from mkrpc.simulation.world import World

__all__ = ["HUB_LEAP_SHARE", "Faults"]

HUB_LEAP_SHARE = 100
"""The interconnect's clock leaps by one part of a lease in so many at most, once in two leases:
what is left of the 3 % by which clocks may run apart once the instances' drift is taken from it.
More would end leases that their holders still count on."""

_SLOW_READS = 20
"""A slow reader takes one part of a lease in so many for each message."""

_ANYBODY = ("hub-pause", "hub-leap", "hub-crash", "drop")
"""Kinds that need no instance that runs."""


class Faults:
    """Does them. At the end of the busy time all have ended."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._may_leap_us = 0

    def perform(self, fault: Fault) -> None:
        """A fault begins, unless there is nobody whom it could meet."""
        world = self._world
        node = world.nodes[fault.instance_id]
        life = node.life
        if life is None and fault.kind not in _ANYBODY:
            return
        world.note(str(fault))
        world.faults[fault.kind] += 1
        until_us = world.now_us + fault.for_us
        match fault.kind:
            case "hub-pause":
                world.hub.paused = True
                world.at(until_us, world.hub.wake)
            case "hub-crash":
                world.outages.begin(fault)
            case "hub-leap":
                self._leap_of_the_hub(fault)
            case "drop":
                world.hub.turn(self._drop, fault)
            case "stall":
                node.stall(until_us, upward=fault.upward)
            case "slow":
                node.slow(until_us, world.options.lease_us // _SLOW_READS, upward=fault.upward)
            case "turn":
                self._turn(node, fault)
            case "pause" | "busy":
                node.stop(beats=fault.kind == "busy")
                world.at(until_us, node.wake)
            case "cut" if life is not None and life.stream is not None:
                world.network.cut(life.stream)
            case "reorder" if life is not None and life.stream is not None:
                world.network.cut(life.stream, reordered=True)
            case "crash" if life is not None:
                life.crash(whole=fault.whole)
            case "leave" if life is not None:
                life.turn(life.leave, "asked to")
            case "reconnect" if life is not None:
                life.turn(life.reconnect)
            case "leap" if life is not None:
                life.leap(fault.for_us)

    def _drop(self, fault: Fault) -> None:
        """An interconnect that was stopped when it was asked may be asked after the busy time."""
        left_us = self._world.options.busy_us - self._world.now_us
        assert fault.injected is not None
        if left_us > 0:
            injected = replace(fault.injected, for_us=min(fault.for_us, left_us))
            self._world.hub.bus.set_fault(injected)

    def _leap_of_the_hub(self, fault: Fault) -> None:
        world = self._world
        if world.now_us >= self._may_leap_us:
            lease_us = world.options.lease_us
            self._may_leap_us = world.now_us + 2 * lease_us
            world.hub.leap(min(fault.for_us, lease_us // HUB_LEAP_SHARE))

    def _turn(self, node: "Node", fault: Fault) -> None:
        """Answers to beats come late, then nothing goes up for more than a lease, and what comes
        down at its end comes late too: an instance that does not reckon its lease from when it
        spoke outlives the interconnect's patience."""
        world = self._world
        lease_us, busy_us = world.options.lease_us, world.options.busy_us
        late_us = min(fault.for_us, lease_us)
        if fault.whole:
            # And it sees nothing of that itself: a handler runs until after the partition's end.
            node.stop(beats=True)
            world.at(min(world.now_us + late_us // 4 + lease_us * 17 // 10, busy_us), node.wake)
        node.stall(world.now_us + late_us // 2, upward=False)
        for begin_us, end_us, upward in (
            (late_us // 4, late_us // 4 + lease_us * 14 // 10, True),
            (late_us // 4 + lease_us * 85 // 100, late_us // 2 + lease_us * 95 // 100, False),
        ):
            until_us = min(world.now_us + end_us, busy_us)
            if world.now_us + begin_us < busy_us:
                world.at(
                    world.now_us + begin_us, lambda u=until_us, w=upward: node.stall(u, upward=w)
                )
