"""Calls of clients (design 3.3, rule 6): their writes are their words, and they are told what
became of them.

Of all words together, and of each where that is asked for; when a call is made again, too. Only of
what an earlier interconnect had answered counts alone are known.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import ClassVar

from mkrpc.interconnect import tally
from mkrpc.interconnect.takeover import KeptCall
from mkrpc.interconnect.tally import EachOutcome, LegKind
from mkrpc.link.frames import NOBODY
from mkrpc.outcome import Outcome
from mkrpc.simulation.checkers.violation import Checker
from mkrpc.simulation.events import Answered, AnsweredTogether, Called, HubBegan
from mkrpc.trace import ClientInjected, IcrWritten, LegEnded

__all__ = ["Calls"]

_Leg = tuple[int, Outcome]


class Calls(Checker):
    """Keeps what became of every write of a client, by the interconnect that lives. ``owners``: the
    instance of every APIC id, save of those that have ``moved`` from one to another."""

    name: ClassVar[str] = "calls"
    listens: ClassVar[tuple[type, ...]] = (
        *(Called, ClientInjected, IcrWritten, LegEnded),
        *(Answered, AnsweredTogether, HubBegan),
    )

    def __init__(self, owners: Mapping[int, int], moved: Set[int] = frozenset()) -> None:
        self._owners = owners
        self._moved = moved
        self._asked: dict[tuple[bytes, int], Sequence[int]] = {}
        self._became: defaultdict[bytes, dict[int, list[_Leg]]] = defaultdict(dict)
        self._clients: set[bytes] = set()
        self._kept: dict[tuple[bytes, int], KeptCall] = {}
        self._together: set[tuple[bytes, int]] = set()
        """Calls of one word each that were made together, and have had their answers."""
        self._words: dict[tuple[bytes, int], int] = {}

    def on_event(self, event: object) -> None:
        """As :class:`Checker`."""
        if type(event) is LegEnded:
            if event.source in self._clients:
                self._leg_ended(event)
        elif type(event) is IcrWritten:
            if event.source in self._clients:
                self._written(event)
        elif type(event) is Called:
            words = self._asked.setdefault((event.client, event.first_seq), event.words)
            assert words == event.words, "a client repeats a call exactly"
        elif type(event) is ClientInjected:
            self._injected(event)
        elif type(event) is Answered:
            self._answered(event)
        elif type(event) is AnsweredTogether:
            self._answered_together(event)
        elif type(event) is HubBegan:
            self._became.clear()
            self._together.clear()
            self._kept = {call.key: call for call in event.takeover.calls}

    def _injected(self, event: ClientInjected) -> None:
        self._clients.add(event.client)
        words = self._asked.get((event.client, event.seq))
        if words is None or len(words) != event.count:
            self.fail(f"{event.count} writes from {event.seq} on are made, which nobody asked for")
        for seq, word in enumerate(words, event.seq):
            self._words[event.client, seq] = word

    def _written(self, event: IcrWritten) -> None:
        for seq in range(event.seq, event.seq + event.count):
            if self._words.get((event.source, seq)) != event.word:
                self.fail(f"write {seq} of a client is made as {event.word:#x}, and was another")

    def _leg_ended(self, event: LegEnded) -> None:
        became = self._became[event.source]
        for seq in range(event.seq, event.seq + event.count):
            became.setdefault(seq, []).append((event.apic_id, event.outcome))

    def _answered(self, event: Answered) -> None:
        told, first = event.tally, event.first_seq
        call = f"the call from {first} on"
        if not told.done or {told.written, told.resolved} != {event.count}:
            self.fail(f"{call} of {event.count} writes is answered with {told.written}")
        kept = self._kept.get((event.client, first))
        if kept is not None:
            if told.legs != dict(kept.legs):
                self.fail(f"{call} is answered otherwise than before the restart")
            return
        ended = self._ended(event.client, first, event.count)
        self._compare(call, told.legs, ended)
        if event.each:
            self._compare_each(call, first, told.each, ended)

    def _answered_together(self, event: AnsweredTogether) -> None:
        answer = event.answer
        calls = f"the calls from {answer.first} to {answer.last}"
        for seq in range(answer.first, answer.last + 1):
            if (event.client, seq) in self._together:
                self.fail(f"call {seq} is answered twice")
            self._together.add((event.client, seq))
        count = answer.last - answer.first + 1
        ended = self._ended(event.client, answer.first, count)
        self._compare(calls, answer.legs, ended)
        if answer.of.each:
            self._compare_each(calls, answer.first, answer.each, ended)

    def _ended(self, client: bytes, first: int, count: int) -> list[list[_Leg]]:
        """The legs of each of so many words."""
        became = self._became[client]
        ended = [became.get(seq, []) for seq in range(first, first + count)]
        if [] in ended:
            self.fail(f"write {first + ended.index([])} of a client is answered without a leg")
        return ended

    def _compare(
        self, what: str, told: Mapping[LegKind, int], ended: Iterable[Iterable[_Leg]]
    ) -> None:
        wanted = Counter(leg for legs in ended for leg in legs)
        found: Counter[_Leg] = Counter()
        for (apic_id, instance_id, outcome), count in told.items():
            found[apic_id, outcome] += count
            owner = None if apic_id == NOBODY else self._owners[apic_id]
            if owner != instance_id and apic_id not in self._moved:
                self.fail(f"{what}: CPU {apic_id:#x} is said to be of instance {instance_id}")
        if found != wanted:
            leg = next(iter((found - wanted) or (wanted - found)))
            self.fail(f"{what} is told of {found[leg]} legs, {wanted[leg]} ended: {leg}")

    def _compare_each(
        self, what: str, first: int, each: EachOutcome | None, ended: Sequence[Sequence[_Leg]]
    ) -> None:
        if each is None:
            self.fail(f"{what} is not told the outcome of every word")
        if each.first_seq != first or len(each.outcomes) != len(ended):
            self.fail(f"{what} is told of {len(each.outcomes)} words from {each.first_seq} on")
        several = sum(len(legs) for legs in ended if len(legs) > 1)
        if each.too_many is not (several > tally.MAX_EACH_LEGS):
            self.fail(f"{what} has {several} legs of words with several: too many or not?")
        for seq, legs in enumerate(ended, first):
            wanted = legs[0][1] if len(legs) == 1 else 0
            if each.outcomes[seq - first] != wanted:
                self.fail(f"{what}: word {seq} is told {each.outcomes[seq - first]}, it is {legs}")
            found: Counter[_Leg] = Counter()
            for (apic_id, _, outcome), count in each.several.get(seq, {}).items():
                found[apic_id, outcome] += count
            if found != Counter(legs if len(legs) > 1 and not each.too_many else ()):
                self.fail(f"{what}: word {seq} is told {found}, it is {legs}")
