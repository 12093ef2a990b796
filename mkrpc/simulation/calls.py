"""What clients do that call over streams, drawn in advance: bursts of words, and single words.

It is in a run that is asked for it, beside all else; its steps have streams of chance of their own.
"""

from collections.abc import Iterator

from mkrpc.simulation.options import Options, Rng, RngSource
from mkrpc.simulation.plan import Plan, Step, StepKind
from mkrpc.simulation.workload import Words, is_broadcast
from mkrpc.x86.icr import fixed
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

__all__ = ["draw_callers", "draw_calls"]

_MOST_CALLERS = 3
_MOST_STEPS = 40
_MOST_REQUESTS = 40
_MOST_WORDS = 40
_MANY_WORDS = (300, 1_500)
"""Of a few bursts; beyond what is counted in plain Python."""
_MOST_KINDS = 9
"""Different words of one burst; most of them come several times."""
_VECTORS = (MULTIKERNEL_VECTOR, MULTIKERNEL_VECTOR, 0x31, 0x41, 0xFB)
_SIMPLE = 0.7
"""Of the words, this share is fixed, physical, to one CPU: what can be sorted by where it goes."""
_EQUAL_ROW = 0.3
"""Of the rows of single words, this share is of one word alone."""
_LONG_SHARE = 0.04
_LONG = (9_000, 20_000)
"""Writes of a call that is made in instalments."""
_LONG_CALLS = 3
_ABOUT_A_DEATH = 0.4
"""Of what is sent, this share is shortly before the interconnect dies, if it does."""
_BEFORE_US = 2_500
_ABOUT_A_REQUEST = 0.8
"""Of the streams that break or end, this share does it soon after something was sent."""
_AFTER_US = 1_000
_LIMITED = 0.25
"""Of the runs, this share has limits of how many writes clients may make."""
_LIMITS = (0, 500, 5_000, 50_000)
"""A second; as many as in 20 ms at once."""
_KINDS: tuple[StepKind, ...] = (*(("send",) * 12), "hang-up", "hang-up", "close")


def draw_callers(rng_of: RngSource) -> int:
    """How many clients do so in a run."""
    return rng_of("callers").randrange(1, _MOST_CALLERS + 1)


def draw_calls(options: Options, rng_of: RngSource, plan: Plan) -> Iterator[Step]:
    """Their steps, numbered after those of a plan; at times there is one more client, which makes
    calls of very many equal words."""
    rng = rng_of("calls")
    words = _CallWords(rng, options)
    number = plan.last_step
    deaths_us = [fault.at_us for fault in plan.faults if fault.kind == "hub-crash"]
    kinds = (*_KINDS, "limit") if rng.random() < _LIMITED else _KINDS
    sent_us: dict[int, int] = {}
    for _ in range(rng.randrange(4, _MOST_STEPS)):
        number += 1
        kind = rng.choice(kinds)
        at_us, client = rng.randrange(0, options.busy_us), rng.randrange(0, options.callers)
        if kind == "send" and deaths_us and rng.random() < _ABOUT_A_DEATH:
            at_us = max(0, rng.choice(deaths_us) - rng.randrange(0, _BEFORE_US))
        elif kind in ("hang-up", "close") and client in sent_us and rng.random() < _ABOUT_A_REQUEST:
            at_us = min(sent_us[client] + rng.randrange(1, _AFTER_US), options.busy_us)
        if kind == "send":
            sent_us[client] = at_us
        if kind == "close":
            yield Step(number=number, at_us=at_us, kind="close", client=client)
        elif kind == "limit":
            yield Step(number=number, at_us=at_us, kind="limit", count=rng.choice(_LIMITS))
        elif kind == "hang-up":
            yield Step(number=number, at_us=at_us, kind="hang-up", client=client)
        else:
            yield Step(
                number=number,
                at_us=at_us,
                kind="send",
                client=client,
                requests=tuple(words.requests()),
                each=rng.random() < 0.5,
            )
    yield from _long_calls(options, rng, words, number)


def _long_calls(options: Options, rng: Rng, words: "_CallWords", number: int) -> Iterator[Step]:
    first_seq = 1
    for _ in range(rng.randrange(1, _LONG_CALLS + 1) if rng.random() < _LONG_SHARE else 0):
        number += 1
        word = words.one()
        count = 40 if is_broadcast(word) else rng.choice(_LONG)
        yield Step(
            number=number,
            at_us=rng.randrange(0, options.busy_us),
            kind="inject",
            word=word,
            count=count,
            client=options.clients,
            first_seq=first_seq,
        )
        first_seq += count


class _CallWords:
    """Draws requests: of one word each, or of several that differ."""

    def __init__(self, rng: Rng, options: Options) -> None:
        self._rng = rng
        self._words = Words(rng, options)
        ids = [apic_id for each in options.instances for apic_id in each.apic_ids]
        self._ids = (*ids, *ids, *ids, max(ids) + 1)

    def requests(self) -> Iterator[tuple[int, ...]]:
        """What a client sends at a time."""
        rng = self._rng
        match rng.randrange(0, 8):
            case 0 | 1 | 2:
                yield self._burst(rng.randrange(2, _MOST_WORDS + 1))
            case 3:
                yield (self.one(),)
            case 4 | 5:
                yield from self._row(rng.randrange(2, _MOST_REQUESTS + 1))
            case 6 if rng.random() < 0.1:
                yield self._burst(rng.randrange(*_MANY_WORDS))
            case _:
                for _ in range(rng.randrange(2, 6)):
                    if rng.random() < 0.5:
                        yield self._burst(rng.randrange(2, _MOST_WORDS + 1))
                    else:
                        yield from self._row(rng.randrange(1, 6))

    def one(self) -> int:
        """Any word of an agent, most often one that is simple to route."""
        rng = self._rng
        if rng.random() < _SIMPLE:
            return fixed(rng.choice(self._ids), rng.choice(_VECTORS))
        return self._words.external()

    def _row(self, count: int) -> Iterator[tuple[int, ...]]:
        """Requests of one word each."""
        words = self._burst(count)
        equal = self._rng.random() < _EQUAL_ROW
        yield from ((words[0] if equal else word,) for word in words)

    def _burst(self, count: int) -> tuple[int, ...]:
        """Words of a few kinds, at times several equal ones in a row."""
        rng = self._rng
        kinds = [self.one() for _ in range(rng.randrange(1, _MOST_KINDS + 1))]
        words: list[int] = []
        while len(words) < count:
            words += [rng.choice(kinds)] * rng.choice((1, 1, 1, 2, 5))
        return tuple(words[:count])
