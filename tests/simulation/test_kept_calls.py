"""A call of a client that was answered outlives the interconnect, its rows are booked once (3.4).

What becomes of a call, one letter each:

| ``f`` | its destination is given the legs that wait for it |
| ``a`` | what the destination answers arrives: if that is all, the client has the answer |
| ``s`` | a snapshot is on the disk |
| ``k`` | the client, which has the answer, acknowledges it |
| ``x`` | the interconnect is killed, and another one takes over |
| ``r`` | the client repeats the call |
"""

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest
from simulation.restart_machine import CLIENT, TO_BOB, RestartMachine

from mkrpc.errors import InvalidArgumentError
from mkrpc.interconnect.policy import SourceKind
from mkrpc.interconnect.tally import Tally
from mkrpc.interconnect.unbooked import UNKNOWN
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import fixed

LEGS = 2
ANSWER = {(2, 1, Outcome.DELIVERED): LEGS}
TO_NOBODY = fixed(99, 0x42)

ROWS = "in the client's rows"
UNBOOKED = "unknown, before the restart"
NOTHING = "never applied"

ORDERS = {
    # No kill: as ever.
    "fa": ROWS,
    "fas": ROWS,
    "fakr": ROWS,
    # Answered, on the disk, killed: nobody has to say anything for its rows to be there.
    "fasx": ROWS,
    "fasxx": ROWS,
    "fasxsx": ROWS,
    # ... and repeated: the answer that is known, and nothing is asked again.
    "fasxr": ROWS,
    "fasrx": ROWS,
    "fasxrr": ROWS,
    "fasxrxr": ROWS,
    # ... and acknowledged, before the next snapshot, after it, or to the next interconnect.
    "faskx": ROWS,
    "fasksx": ROWS,
    "fasxk": ROWS,
    "fasxkx": ROWS,
    "fasxksx": ROWS,
    "fasxkxx": ROWS,
    # Acknowledged before any snapshot.
    "faksx": ROWS,
    "fakx": UNBOOKED,
    # Answered after the last snapshot: a repetition is asked for at the destination, which knows.
    "fax": UNBOOKED,
    "faxr": ROWS,
    "faxrfa": ROWS,
    "faxrfasx": ROWS,
    "faxrfasxr": ROWS,
    "faxrfax": UNBOOKED,
    "faxrx": UNBOOKED,
    "fxr": ROWS,
    "fsxr": ROWS,
    "fsx": UNBOOKED,
    # Never handed over, and given up.
    "x": NOTHING,
    "sx": NOTHING,
    "xr": ROWS,
    "sxrfasx": ROWS,
}


class Play:
    """A machine, a call of two writes to bob, and what must have become of it."""

    def __init__(self) -> None:
        self.m = RestartMachine()
        self.roster = self.m.bus.roster_number
        self.killed = False
        self.told: list[Tally] = []
        """Of this interconnect: who waits, or has the answer."""
        # What the interconnect knows of the call, and what its disk does.
        self.known = self.kept = ""
        self.handed = self.applied = False
        self.call()

    def call(self) -> None:
        again = {"again": self.killed, "roster": self.roster if self.killed else 0}
        self.told.append(self.m.inject(TO_BOB, LEGS, first_seq=1, **again))
        if not self.known:
            self.known, self.handed = "open", False

    def play(self, order: str) -> None:
        for step in order:
            getattr(self, f"step_{step}")()
            assert self.told == [] or self.told[0].done is (self.known in ("answered", "booked"))

    def step_f(self) -> None:
        while self.m.nodes[1].fetch():
            pass
        self.handed = self.known == "open"
        self.applied |= self.handed

    def step_a(self) -> None:
        while self.m.nodes[1].send():
            pass
        if self.handed:
            self.known, self.handed = "answered", False

    def step_s(self) -> None:
        self.m.keeper.keep(self.m.bus, rows=True)
        if self.known in ("answered", "booked"):
            self.kept = self.known

    def step_k(self) -> None:
        self.m.inject(TO_NOBODY, first_seq=LEGS + 1, resolved_below=LEGS + 1)
        if self.known == "answered":
            self.known = "booked"

    def step_x(self) -> None:
        self.m.restart()
        self.killed, self.told = True, []
        for node in self.m.nodes.values():
            while node.send():
                pass
        assert self.m.bus.recovering is None
        self.known, self.handed = self.kept, False

    def step_r(self) -> None:
        if self.known == "booked":
            with pytest.raises(InvalidArgumentError):
                self.call()
            return
        self.call()

    def end(self) -> str:
        """All comes to rest; where the legs of the call are in the books, or that none is."""
        m = self.m
        m.settle()
        if self.known == "open":
            self.known, self.applied = "answered", True
        m.check()
        assert len(m.nodes[1].applied) == (LEGS if self.applied else 0), "each leg once"
        for tally in self.told:
            assert tally.done
            assert tally.legs == ANSWER
        of_client = {
            outcome: count
            for row in m.bus.ledger
            if row.key.source.kind is SourceKind.CLIENT and row.key.destination is not None
            for outcome, count in row.outcomes.items()
        }
        unknown = sum(row.written for row in m.bus.ledger if row.key.source == UNKNOWN)
        booked = bool(of_client)
        assert of_client == ({Outcome.DELIVERED: LEGS} if booked else {})
        assert unknown == (LEGS if self.applied and not booked else 0)
        return ROWS if booked else UNBOOKED if unknown else NOTHING

    def expected(self) -> str:
        """By what is known of the call, once all has settled."""
        if self.known:
            return ROWS
        return UNBOOKED if self.applied else NOTHING


@pytest.mark.parametrize(("order", "where"), ORDERS.items(), ids=ORDERS)
def test_a_call_is_booked_once_in_whatever_order_things_happen(order: str, where: str) -> None:
    play = Play()
    play.play(order)
    assert play.end() == play.expected() == where
    # What was on the disk at the end is what the next one knows.
    play.step_x()
    assert play.end() == where


def all_orders() -> Iterator[str]:
    """Each thing once at most, and two kills; nobody acknowledges what has no answer, or repeats
    what was acknowledged."""
    seen = set()
    for length in range(2, 8):
        for letters in permutations("faskxrx", length):
            order = "".join(letters)
            answered = order.find("a") > order.find("f") >= 0
            early = "k" in order and not (answered and order.index("k") > order.index("a"))
            late = "k" in order and order.rfind("r") > order.index("k")
            if "x" in order and order not in seen and not early and not late:
                seen.add(order)
                yield order


def test_every_order_of_all_that_can_happen(request: pytest.FixtureRequest) -> None:
    """With ``--full`` all 1,504."""
    every = 1 if request.config.getoption("--full") else 5
    for order in list(all_orders())[::every]:
        play = Play()
        play.play(order)
        assert play.end() == play.expected(), order


def test_what_another_interconnect_knows_is_answered_behind_the_barrier() -> None:
    """Nothing has to be asked for it."""
    play = Play()
    play.play("fas")
    play.m.restart(back=False)
    assert play.m.bus.recovering is not None
    tally = play.m.inject(TO_BOB, LEGS, first_seq=1, again=True, roster=play.roster)
    assert tally.done
    assert tally.repeated
    assert tally.legs == ANSWER


@pytest.mark.parametrize("asked", [{"word": TO_BOB + 1}, {"count": LEGS + 1}])
def test_a_repetition_is_exact_over_a_restart_too(asked: dict[str, Any]) -> None:
    play = Play()
    play.play("fasx")
    with pytest.raises(InvalidArgumentError, match="write 1 was 2 times"):
        play.m.inject(
            **{"word": TO_BOB, "count": LEGS, "first_seq": 1, "again": True, "roster": 1} | asked
        )


def test_the_client_goes_on_with_numbers_of_its_own() -> None:
    """Calls before and after, some kept, some acknowledged, some never answered."""
    m = RestartMachine()
    for first_seq in (1, 3, 5):
        m.inject(TO_BOB, LEGS, first_seq=first_seq)
    m.settle()
    m.inject(TO_BOB, LEGS, first_seq=7, resolved_below=3)  # not handed over before the kill
    m.keeper.keep(m.bus, rows=True)
    assert list(m.keeper.calls) == [(CLIENT, 3), (CLIENT, 5)]
    m.restart()
    m.settle()
    again = m.inject(TO_BOB, LEGS, first_seq=7, again=True, roster=m.bus.roster_number)
    m.settle()
    assert again.legs == ANSWER
    assert not again.repeated
    m.inject(TO_NOBODY, first_seq=9, resolved_below=9)
    m.settle()
    assert list(m.keeper.calls) == [(CLIENT, 9)]
    m.check()
    assert len(m.nodes[1].applied) == 4 * LEGS
    m.restart()
    m.settle()
    m.check()
    booked = [r.written for r in m.bus.ledger if r.key.source.kind is SourceKind.CLIENT]
    assert sorted(booked) == [1, 4 * LEGS]
