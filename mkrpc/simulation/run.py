"""One seed: options, plan, world and checkers, and what came of them."""

from collections.abc import Callable, Set
from dataclasses import dataclass, field, replace

from mkrpc.simulation.calls import draw_callers, draw_calls
from mkrpc.simulation.checkers.apic_invariants import ApicInvariants
from mkrpc.simulation.checkers.calls import Calls
from mkrpc.simulation.checkers.conservation import Conservation
from mkrpc.simulation.checkers.exactly_once import ExactlyOnce
from mkrpc.simulation.checkers.injected import Injected
from mkrpc.simulation.checkers.isolation import Isolation
from mkrpc.simulation.checkers.lease import Lease
from mkrpc.simulation.checkers.liveness import Liveness
from mkrpc.simulation.checkers.mirror import Mirror
from mkrpc.simulation.checkers.order import Order
from mkrpc.simulation.checkers.routing import Routing
from mkrpc.simulation.checkers.source_books import SourceBooks
from mkrpc.simulation.checkers.startup import Startup
from mkrpc.simulation.checkers.violation import Checker, Violation
from mkrpc.simulation.cpu_moves import draw_moves
from mkrpc.simulation.options import Options, Rng, RngSource
from mkrpc.simulation.plan import Plan
from mkrpc.simulation.world import World

__all__ = ["MACHINE", "Chance", "Result", "draw", "run"]

MACHINE = "machine"
"""The law that nothing in a run raises what is not meant for whoever asked."""

Chance = Callable[[str], Rng]
"""``random.Random``, or what behaves like it: a stream of chance from a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a seed.

    ``violation`` is empty, or one line that begins with the checker's name, and ``at_us`` when it
    was seen. ``faults`` counts what was done to the machine by its kind, ``outcomes`` its legs.
    ``moving``, ``calls``: as it was asked for. ``digest`` is that of all lines of the run: equal
    ones are equal runs.
    """

    seed: int
    violation: str
    at_us: int
    events: int
    frames: int
    legs: int
    faults: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    digest: str = ""
    moving: bool = False
    calls: bool = False

    @property
    def law(self) -> str:
        """Which law was broken: its checker's name, or what was raised; empty for none."""
        checker, _, text = self.violation.partition(": ")
        return f"{checker}: {text.partition(':')[0]}" if checker == MACHINE else checker


def draw(
    seed: int, chance: Chance, *, moving: bool = False, calls: bool = False
) -> tuple[Options, Plan, RngSource]:
    """What a seed stands for. ``moving``: and CPUs move from kernel to kernel. ``calls``: and
    clients send different words over streams."""

    def rng_of(name: str) -> Rng:
        return chance(f"{seed}/{name}")

    options = Options.draw(rng_of("options"))
    plan = Plan.draw(options, rng_of)
    if moving:
        plan = plan.with_steps(draw_moves(options, rng_of, plan.last_step))
    if calls:
        options = replace(options, callers=draw_callers(rng_of))
        plan = plan.with_steps(draw_calls(options, rng_of, plan))
    return options, plan, rng_of


def run(
    seed: int,
    chance: Chance,
    *,
    without: Set[str] = frozenset(),
    tell: Callable[[str], None] | None = None,
    moving: bool = False,
    calls: bool = False,
) -> Result:
    """Run a seed. ``without``: tags of steps (``s3``), faults (``f1``) and instances (``i2``) that
    are left out. ``tell`` is given every line of the run. ``moving``: CPUs move from kernel to
    kernel, besides; ``calls``: clients send bursts of different words and words one by one over
    streams, besides. All else is drawn as without.

    Whatever is raised in a run is a violation: nothing in it is an operator's fault.
    """
    options, plan, rng_of = draw(seed, chance, moving=moving, calls=calls)
    world = World(options, plan, rng_of, without=without, tell=tell)
    journal = ExactlyOnce(world.written_by, world.cpu_moves.moved)
    conservation = Conservation(journal)
    checkers: list[Checker] = [
        journal,
        Order(journal),
        conservation,
        SourceBooks(conservation, world.owners, world.cpu_moves.moved),
        Calls(world.owners, world.cpu_moves.moved),
        Injected(),
        Mirror(world.hub.bus),
        ApicInvariants(),
        Routing(
            world.hub.bus,
            journal,
            instances=world.instances,
            now_us=lambda: world.hub.now_us,
            lease_us=options.lease_us,
        ),
        Isolation(journal, filtered=options.policy == "filtered", instances=world.instances),
        Lease(lambda: world.hub.now_us, options.lease_us, world.holds_lease),
        Startup(journal),
        Liveness(),
    ]
    world.watch(checkers)
    violation = ""
    try:
        standing = world.run()
        for checker in reversed(checkers):
            checker.at_end(standing)
    except Violation as broken:
        violation = f"{broken.checker}: {broken}"
    except Exception as error:  # noqa: BLE001 - a seed that fails must be named, whatever it raised
        violation = f"{MACHINE}: {type(error).__name__}: {' '.join(str(error).split())}"
    return Result(
        seed=seed,
        violation=violation,
        at_us=world.now_us,
        events=world.events,
        frames=world.network.frames,
        legs=sum(world.outcomes.values()),
        faults=dict(sorted((world.faults + world.network.caught).items())),
        outcomes=dict(sorted(world.outcomes.items())),
        digest=world.digest,
        moving=moving,
        calls=calls,
    )
