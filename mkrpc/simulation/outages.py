"""The interconnect dies, and another one takes over: when, and with what.

What SQLite would know is kept here: who was attached and who has ended, written down at once; the
books of those who live as they were a while ago. All else dies with the process.
"""

from typing import TYPE_CHECKING

from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.simulation.disk import Disk
from mkrpc.simulation.events import HubBegan, HubKept
from mkrpc.simulation.hub import Hub
from mkrpc.simulation.plan import Fault

if TYPE_CHECKING:
    from mkrpc.simulation.node import Life
    from mkrpc.simulation.world import World

__all__ = ["Outages"]

_EPOCH_BITS = 64
_CLOCK_US = 1_000_000_000
"""An interconnect's clock begins anywhere below that."""
_TROUBLES = ("none", "none", "crash", "pause", "leave")
"""What may befall an instance while there is no interconnect, or while its barrier is closed."""


class Outages:
    """Of one run."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._rng = world.rng_of("outages")
        self._disk = Disk()
        self._unreported: dict[Life, None] = {}
        self._kept = "hub-crash" in {kind for kind, count in world.options.faults if count}
        if self._kept:
            world.at(world.options.snapshot_us, self._snapshot)

    def hub(self) -> Hub:
        """Another interconnect: its epoch is not 0, and in no order with others."""
        epoch = self._rng.randrange(1, 1 << _EPOCH_BITS)
        clock_us = self._rng.randrange(0, _CLOCK_US)
        takeover = self._disk.begin(epoch)
        hub = Hub(self._world, epoch=epoch, takeover=takeover, clock_us=clock_us)
        if self._kept:
            self._disk.commit(hub.bus, rows=True)
        return hub

    def commit(self, bus: ApicBus) -> None:
        """Write down who has come and who has ended, if anybody has."""
        if self._kept and self._disk.has_to_commit(bus):
            self._disk.commit(bus, rows=False)

    def report(self, life: "Life") -> None:
        """A host agent sees that a process has ended, and says so after a while."""
        self._unreported[life] = None
        world = self._world
        world.at(world.now_us + self._rng.randrange(1, world.options.restart_us), self._say, life)

    def begin(self, fault: Fault) -> None:
        """The interconnect dies; it is back when the fault is over, at the end of the busy time."""
        world, rng = self._world, self._rng
        if world.hub.over:
            return  # it is dead already
        back_us = world.now_us + fault.for_us
        self._die(back_us, again=fault.upward)
        node = world.nodes[fault.instance_id]
        if fault.whole and node.life is not None:
            world.faults["hub-crash and crash"] += 1
            node.life.crash(whole=True)
        victim = rng.choice(world.options.instances)
        self._trouble(rng.choice(_TROUBLES), victim.instance_id, back_us)

    def _die(self, back_us: int, *, again: bool) -> None:
        world = self._world
        world.hub.die()
        world.network.cut_all()
        world.requests.hub_died()
        world.callers.hub_died()
        world.cpu_moves.hub_died()
        world.at(back_us, self._take_over, again)

    def _die_again(self) -> None:
        world = self._world
        if not world.hub.over:
            world.faults["hub-crash again"] += 1
            world.note("the interconnect dies again")
            most_us = min(world.options.busy_us - world.now_us, world.options.lease_us) + 1
            self._die(world.now_us + self._rng.randrange(0, most_us), again=False)

    def _trouble(self, kind: str, instance_id: int, back_us: int) -> None:
        world, rng = self._world, self._rng
        busy_us, lease_us = world.options.busy_us, world.options.lease_us
        when_us = min(world.now_us + rng.randrange(0, back_us - world.now_us + lease_us), busy_us)
        until_us = min(when_us + rng.randrange(1, 2 * lease_us), busy_us)
        node = world.nodes[instance_id]

        def befall() -> None:
            life = node.life
            if life is None:
                return
            world.note(f"{life.label} {kind} while the interconnect is away")
            match kind:
                case "crash":
                    life.crash(whole=rng.random() < 0.5)
                case "leave":
                    life.turn(life.leave, "asked to")
                case "pause":
                    node.stop(beats=False)
                    world.at(until_us, node.wake)

        if kind != "none":
            world.at(when_us, befall)

    def _take_over(self, again: bool) -> None:
        world, rng = self._world, self._rng
        world.hub = hub = self.hub()
        assert hub.takeover is not None
        world.note(f"another interconnect expects {len(hub.takeover.expected)}")
        world.show(HubBegan(hub.bus, hub.takeover))
        world.hub.turn(lambda: None)
        world.callers.hub_began()
        for life in self._unreported:
            when_us = world.now_us + rng.randrange(1, world.options.restart_us)
            world.at(when_us, self._say, life)
        again_us = world.now_us + rng.randrange(1, world.options.lease_us)
        if again and again_us < world.options.busy_us:
            world.at(again_us, self._die_again)

    def _say(self, life: "Life") -> None:
        """A host agent speaks of a death to the interconnect that there is, if there is one; to the
        next one it speaks of it again."""
        hub = self._world.hub
        hub.turn(hub.process_ended, life.node.options.instance_id, life.pid)

    def _snapshot(self) -> None:
        world = self._world
        if not world.hub.over and not world.hub.paused:
            self._disk.commit(world.hub.bus, rows=True)
            world.show(HubKept())
        if world.now_us < world.options.busy_us:
            world.at(world.now_us + world.options.snapshot_us, self._snapshot)
