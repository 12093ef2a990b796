"""Each checker of a chaos run: green for evidence that adds up, red for one planted mistake.

A machine of two instances with a CPU each. Instance 1 was killed once: of five writes of CPU 0 to
it two came to the first incarnation, one went with it, two came to the second.
"""

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from mkrpc.chaos.checkers.books import MAX_MORE_DESCRIPTORS
from mkrpc.chaos.checkers.causes import explained_losses, unanswered
from mkrpc.chaos.checkers.verdict import CHECKERS, check_all
from mkrpc.chaos.evidence import ClientTally, Done, Evidence, Sample
from mkrpc.chaos.plan import Fault, LinkMode
from mkrpc.chaos.tables import Life, Vectors
from mkrpc.client.answers import (
    Accounts,
    ClusterView,
    InstanceState,
    InstanceView,
    MirroredCpu,
)
from mkrpc.client.books import Ledger, LedgerParty, LedgerRow, LedgerTotals
from mkrpc.link.frames import CpuAccount, CpuAddress, VectorCount
from mkrpc.outcome import Outcome, OutcomeKind

ZERO, DEAD, ONE, CLIENT = b"zero" * 4, b"dead" * 4, b"one." * 4, b"cli." * 4
VECTORS = Vectors(2)
FIRST, SECOND, GROUP = VECTORS.first(0), VECTORS.second(0), VECTORS.group(0)
MAYBE = Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED


@dataclass
class Case:
    """Evidence that a test may spoil, piece by piece, before it is looked at."""

    rows: dict[tuple[bytes, bytes, int], dict[Outcome, int]] = field(
        default_factory=lambda: {
            (ZERO, DEAD, FIRST): {Outcome.DELIVERED: 1, MAYBE: 1},
            (ZERO, DEAD, SECOND): {Outcome.DELIVERED: 1},
            (ZERO, ONE, SECOND): {Outcome.DELIVERED: 1},
            (ZERO, ONE, FIRST): {Outcome.DELIVERED: 1},
            (ZERO, ONE, GROUP): {Outcome.DELIVERED: 1, Outcome.COALESCED: 1},
            (ZERO, b"", 0): {Outcome.REJECTED_NO_SUCH_APIC: 1},
            (DEAD, ZERO, VECTORS.first(1)): {Outcome.DELIVERED: 1},
            (ONE, ZERO, VECTORS.first(1)): {Outcome.DELIVERED: 1},
            (CLIENT, ONE, VECTORS.client): {Outcome.DELIVERED: 1},
        }
    )
    lives: dict[bytes, dict[str, Any]] = field(
        default_factory=lambda: {
            ZERO: {"apic_id": 0, "written": [0, 5], "first": [0, 2]},
            DEAD: {"apic_id": 1, "written": [1, 0], "first": [1, 0], "second": [1, 0]},
            ONE: {
                "apic_id": 1,
                "written": [1, 0],
                "first": [1, 0],
                "second": [1, 0],
                "group": [1, 0],
                "client": 1,
            },
        }
    )
    done: list[Done] = field(
        default_factory=lambda: [
            Done(Fault(1, 1.0, "kill", 1, 0.5), 1.0, 2.0, frozenset({DEAD}), 0.4)
        ]
    )
    incarnations: dict[int, list[bytes]] = field(
        default_factory=lambda: {0: [ZERO], 1: [DEAD, ONE]}
    )
    handled: dict[bytes, dict[int, int]] = field(
        default_factory=lambda: {
            ZERO: {VECTORS.first(1): 2},
            ONE: {FIRST: 1, SECOND: 1, GROUP: 1, VECTORS.client: 1},
        }
    )
    mirrored: dict[bytes, dict[int, int]] = field(default_factory=dict)
    told: dict[Outcome, int] = field(default_factory=lambda: {Outcome.DELIVERED: 1})
    errors: dict[str, int] = field(default_factory=dict)
    in_flight: int = 0
    discrepancies: list[str] = field(default_factory=list)
    samples: list[Sample] = field(
        default_factory=lambda: [Sample(7, 5000, 20, 9), Sample(7, 5100, 22, 9)]
    )
    processes: int = 5
    trouble: str = ""
    restarts: int = 0
    active: list[int] = field(default_factory=lambda: [0, 1])
    gathering: list[str] = field(default_factory=list)

    def evidence(self) -> Evidence:
        rows = [self._row(key, outcomes) for key, outcomes in self.rows.items()]
        totals = {
            name: sum(getattr(row.totals, name) for row in rows)
            for name in ("written", "delivered", "coalesced", "rejected", "lost")
        }
        totals["written"] += self.in_flight
        return Evidence(
            cluster=ClusterView(
                *("unix:/x", 1, 7, "bare-metal", (self._view(0), self._view(1))),
                books_trouble=self.trouble,
            ),
            ledger=Ledger(
                not self.discrepancies,
                LedgerTotals(in_flight=self.in_flight, **totals),
                tuple(rows),
                tuple(self.discrepancies),
            ),
            accounts={
                number: Accounts(
                    incarnation,
                    (account(self.mirrored.get(incarnation, self.handled[incarnation])),),
                    (account(self.handled[incarnation]),),
                )
                for number, incarnation in ((0, ZERO), (1, ONE))
            },
            done=self.done,
            incarnations=self.incarnations,
            lives=[self._life(key, columns) for key, columns in self.lives.items()],
            clients=[ClientTally(CLIENT, 1, Counter(self.told), Counter(self.errors))],
            samples=self.samples,
            processes=self.processes,
            restarts=self.restarts,
            gathering=self.gathering,
        )

    def _view(self, number: int) -> InstanceView:
        cpu = MirroredCpu(CpuAddress(0, number, 2, number, 0, 0, True), account({}))
        state = InstanceState.ACTIVE if number in self.active else InstanceState.FAILED
        incarnation = (ZERO, ONE)[number]
        return InstanceView(number, f"mk{number}", state, incarnation, 9, (cpu,), "", 1)

    @staticmethod
    def _row(key: tuple[bytes, bytes, int], outcomes: dict[Outcome, int]) -> LedgerRow:
        source, destination, vector = key
        kinds: Counter[OutcomeKind] = Counter()
        for outcome, count in outcomes.items():
            kinds[outcome.kind] += count
        return LedgerRow(
            source=party(source, None),
            destination=party(destination, 0 if destination == ZERO else 1)
            if destination
            else None,
            delivery_mode="fixed" if vector else "nmi",
            vector=vector,
            totals=LedgerTotals(
                written=kinds.total(),
                delivered=kinds[OutcomeKind.DELIVERED],
                coalesced=kinds[OutcomeKind.COALESCED],
                rejected=kinds[OutcomeKind.REJECTED],
                lost=kinds[OutcomeKind.LOST],
                in_flight=0,
            ),
            outcomes=tuple(outcomes.items()),
        )

    @staticmethod
    def _life(incarnation: bytes, columns: dict[str, Any]) -> Life:
        empty = dict.fromkeys(("written", "first", "second", "overtaken", "group"), (0, 0))
        given = {"number": 0, "client": 0, **empty, **columns}
        as_tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        return Life(incarnation=incarnation, **as_tuples)


def party(identity: bytes, apic_id: int | None) -> LedgerParty:
    instance_id = {ZERO: 0, DEAD: 1, ONE: 1}.get(identity)
    return LedgerParty(instance_id, identity.decode(), identity, apic_id)


def account(handled: dict[int, int]) -> CpuAccount:
    vectors = [VectorCount(v, n, 0, n, n, 0) for v, n in sorted(handled.items())]
    return CpuAccount(0, 0, 0, 0, 0, True, "halted", 0, vectors)


def test_evidence_that_adds_up_passes_every_checker():
    assert {name: lines for name, lines in check_all(Case().evidence()).items() if lines} == {}


def kill_hit_nobody(case: Case) -> None:
    case.done = [replace(case.done[0], incarnations=frozenset())]


def short_stop_only(case: Case) -> None:
    case.done = [replace(case.done[0], fault=Fault(1, 1.0, "stop", 1, 0.5))]


def booked(key: tuple[bytes, bytes, int], **outcomes: int) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        case.rows[key] = {Outcome[name]: count for name, count in outcomes.items() if count}

    return spoil


def noted(incarnation: bytes, **columns: Any) -> Callable[[Case], None]:
    return lambda case: case.lives[incarnation].update(columns)


def both(*spoils: Callable[[Case], None]) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        for each in spoils:
            each(case)

    return spoil


def put(**changes: Any) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        for name, value in changes.items():
            setattr(case, name, copy.deepcopy(value))

    return spoil


PLANTED = [
    ("books", "a leg without an outcome", put(in_flight=1)),
    ("books", "the interconnect says so", put(discrepancies=["written 2 is not ended 1"])),
    ("books", "they are not on disk", put(trouble="the disk is full")),
    ("mirrors", "a count behind", put(mirrored={ONE: {FIRST: 0, SECOND: 1, GROUP: 1, 0x36: 1}})),
    ("endings", "an end without a fault", kill_hit_nobody),
    ("endings", "an end by a stop within the lease", short_stop_only),
    ("endings", "one that does not run", put(active=[0])),
    ("losses", "a loss without a fault", kill_hit_nobody),
    ("losses", "one at somebody who lives", booked((ZERO, ONE, GROUP), LOST_TARGET_DEAD=1)),
    ("losses", "one that no restart has sent again", booked((ZERO, ONE, GROUP), **{MAYBE.name: 1})),
    ("losses", "a restart that nobody made", booked((ZERO, b"", 0), LOST_INTERCONNECT_RESTART=1)),
    ("losses", "a source that lives", booked((ZERO, b"", 0), LOST_SOURCE_DEAD=1)),
    ("refusals", "backpressure, nobody hurt", put(done=[])),
    ("refusals", "a reason of no fault", booked((ZERO, b"", 0), REJECTED_MALFORMED=1)),
    (
        "handled once",
        "more than was written",
        both(noted(ZERO, written=[0, 4]), noted(ONE, first=[2, 0])),
    ),
    ("handled once", "twice, by the books", noted(ONE, group=[2, 0])),
    ("handled once", "not at all, by the books", noted(ONE, client=0)),
    (
        "handled once",
        "a dead one, beyond what may have been",
        noted(DEAD, first=[3, 0]),
    ),
    (
        "handled once",
        "of a dead one two were delivered and not handled",
        booked((ZERO, DEAD, FIRST), DELIVERED=3, LOST_TARGET_DEAD_MAYBE_DELIVERED=1),
    ),
    ("order", "a second overtook a first", noted(ONE, overtaken=[1, 0])),
    ("handlers", "an APIC that counts one more", put(handled={ZERO: {0x33: 3}, ONE: {}})),
    ("writes", "one that the books lack", noted(ZERO, written=[0, 6])),
    ("writes", "one of the dead that it never wrote", noted(DEAD, written=[0, 0])),
    ("clients", "a client was told of more", put(told={Outcome.DELIVERED: 2})),
    ("clients", "and of less", put(told={})),
    (
        "growth",
        "descriptors",
        put(samples=[Sample(7, 1, 20, 9), Sample(7, 1, 25 + MAX_MORE_DESCRIPTORS, 9)]),
    ),
    ("growth", "a process too many", put(processes=8)),
    ("evidence", "something was not found out", put(gathering=["the ledger"])),
]


@pytest.mark.parametrize(
    ("checker", "spoil"),
    [pytest.param(checker, spoil, id=f"{checker}: {what}") for checker, what, spoil in PLANTED],
)
def test_a_planted_mistake_is_seen(checker, spoil):
    case = Case()
    spoil(case)
    assert CHECKERS[checker](case.evidence())


def test_every_checker_has_a_mistake_that_it_sees():
    assert {checker for checker, _, _ in PLANTED} == set(CHECKERS)


def test_a_restart_of_the_interconnect_explains_what_it_took():
    case = Case()
    case.rows[ZERO, b"", 0] = {Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED: 2}
    case.done.append(Done(Fault(2, 9.0, "interconnect", None), 9.0, 10.0, frozenset(), 1.0))
    case.restarts = 1
    case.told = {Outcome.DELIVERED: 4}
    assert check_all(case.evidence()) == {name: [] for name in CHECKERS}
    assert explained_losses(case.evidence())[0] == {
        "lost(interconnect_restart, maybe_delivered): interconnect": 2,
        "lost(target_dead, maybe_delivered): kill": 1,
    }


@pytest.mark.parametrize(("party", "explained"), [(ONE, True), (ZERO, False)])
def test_a_life_answers_for_the_one_before_it_to_what_a_restart_has_sent_again(party, explained):
    """A write that is older than itself (docs/reliability.md); the first life has none before."""
    case = Case()
    case.rows[CLIENT, party, VECTORS.client] = {MAYBE: 1}
    case.done.append(Done(Fault(2, 9.0, "interconnect", None), 9.0, 10.0, frozenset(), 1.0))
    reasons, lines = explained_losses(case.evidence())
    assert bool(lines) is not explained
    assert reasons["lost(target_dead, maybe_delivered): kill"] == 1 + explained


@pytest.mark.parametrize(("away_s", "explained"), [(1.0, False), (2.5, True)])
def test_an_interconnect_that_was_away_for_most_of_a_lease_explains_an_end(away_s, explained):
    case = Case()
    restart = Fault(1, 1.0, "interconnect", None)
    case.done = [Done(restart, 1.0, 5.0, frozenset(), 4.0, away_s, frozenset({DEAD}))]
    assert (CHECKERS["endings"](case.evidence()) == []) == explained
    assert (DEAD in unanswered(case.evidence())) == explained


@pytest.mark.parametrize("apart_s", [0.0, 60.0])
def test_a_short_silence_explains_an_end_only_around_a_restart(apart_s):
    """Together they may outlast the lease, each alone must not."""
    case = Case()
    mode = LinkMode("half-open")
    silence = Done(Fault(1, 1.0, "link", 1, 1.5, mode), 1.0, 3.0, frozenset({DEAD}), 0.1)
    restart = Fault(2, 3.0 + apart_s, "interconnect", None)
    case.done = [silence, Done(restart, 3.0 + apart_s, 4.0 + apart_s, frozenset(), 1.0)]
    assert bool(CHECKERS["endings"](case.evidence())) == (apart_s > 0)


def test_a_client_without_an_answer_may_lack_what_the_books_have():
    case = Case(told={}, errors={"UNAVAILABLE": 1})
    assert CHECKERS["clients"](case.evidence()) == []
