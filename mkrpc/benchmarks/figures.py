"""What ``mkrpc bench`` finds: figures with their rounds, and ratios of two of them.

A figure is named ``SUBJECT.MEASURE.UNIT``, such as ``mkrpc.delay.p50_us``. Only ratios of figures
of one run mean something on another machine.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["RATIOS", "Figure", "Figures", "Ratio", "percentile", "ratios_of"]


@dataclass(slots=True)
class Figure:
    """One value a round, by the round's number: a round that failed has none.

    ``counts``: of all rounds together, for what passed words on.
    """

    by_round: dict[int, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def rounds(self) -> list[float]:
        """The values, in the order of the rounds."""
        return list(self.by_round.values())

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.rounds)


class Figures(dict[str, Figure]):
    """By name; ``failures`` says what of an answer cannot be, a line each."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[str] = []
        self.round = 1
        """The number of the round to which what is added belongs."""

    def add(self, key: str, answer: Mapping[str, Any]) -> None:
        """The answer of a subject to one order: delays, or words that passed, or plain numbers."""
        if "delays_us" in answer:
            self._add_delays(key, sorted(answer["delays_us"]))
            if "offered_per_s" in answer:
                self.note(f"{key}.offered_per_s", answer["offered_per_s"])
        elif "written" in answer:
            self._add_passed(key, answer)
        else:
            for unit, value in answer.items():
                self.note(f"{key}.{unit}", value)

    def note(self, name: str, value: float) -> None:
        """The value of this round."""
        by_round = self.setdefault(name, Figure()).by_round
        assert self.round not in by_round, f"{name} has a value of round {self.round}"
        by_round[self.round] = round(value, 6)

    def _add_delays(self, key: str, delays_us: list[float]) -> None:
        if not delays_us or delays_us[0] <= 0:
            self.failures.append(f"{key}: a delay of {delays_us[:1]} us")
        self.note(f"{key}.p50_us", percentile(delays_us, 50))
        self.note(f"{key}.p99_us", percentile(delays_us, 99))

    def _add_passed(self, key: str, answer: Mapping[str, Any]) -> None:
        written, handled, coalesced = (answer[name] for name in ("written", "handled", "coalesced"))
        if written != handled + coalesced or not written:
            self.failures.append(
                f"{key}: {written} words written, {handled} handlers ran, {coalesced} coalesced"
            )
        self.note(f"{key}.per_s", written / answer["seconds"])
        counts = self[f"{key}.per_s"].counts
        for name in ("written", "handled", "coalesced"):
            counts[name] = counts.get(name, 0) + int(answer[name])


def percentile(ordered: list[float], percent: int) -> float:
    """Of values in ascending order: the smallest one that so many percent do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


@dataclass(frozen=True, slots=True)
class Ratio:
    """One figure over another. ``goal``: at least, or if ``at_most`` at most, what it should be.

    ``means``: what is divided, in words.
    """

    of: str
    over: str
    means: str
    goal: float | None = None
    at_most: bool = False


RATIOS: Mapping[str, Ratio] = {
    "delay_over_raw_relay": Ratio(
        "mkrpc.delay.p50_us",
        "raw_relay.delay.p50_us",
        "delay from a client to the handler's first line, over that of a relay that does nothing",
        1.15,
        at_most=True,
    ),
    "delay_over_idiomatic": Ratio(
        "mkrpc.delay.p50_us",
        "idiomatic.delay.p50_us",
        "the same over that of the design one would write first",
        0.25,
        at_most=True,
    ),
    **{
        f"delay_over_{over}_on_{transport}": Ratio(
            f"mkrpc_on_{transport}.delay.p50_us",
            f"{baseline}.delay.p50_us",
            f"the same on the transport {transport}",
            goal,
            at_most=True,
        )
        for transport, over, baseline, goal in (
            ("aio", "raw_relay", "raw_relay_on_aio", 1.15),
            ("aio", "idiomatic", "idiomatic", 0.5),
            ("reactor", "raw_relay", "raw_relay_on_reactor", 1.15),
            ("reactor", "idiomatic", "idiomatic", 0.25),
        )
    },
    "delay_at_low_load_over_closed_loop": Ratio(
        "mkrpc.offered_1000.p50_us",
        "mkrpc.delay.p50_us",
        "delay of words at 1,000 a second, over that of one at a time: what batching adds to it",
    ),
    "raw_relay_at_low_load_over_closed_loop": Ratio(
        "raw_relay.offered_1000.p50_us",
        "raw_relay.delay.p50_us",
        "the same of the raw relay, which batches nothing: what a millisecond's sleep adds",
    ),
    "one_per_message_over_idiomatic": Ratio(
        "mkrpc.one.per_s",
        "idiomatic.one.per_s",
        "IPIs a second, one a message, each acknowledged by its outcome",
        15,
    ),
    "one_per_message_cumulative_over_idiomatic": Ratio(
        "mkrpc.one_cumulative.per_s",
        "idiomatic.one.per_s",
        "the same with cumulative acknowledgement, over the design that acknowledges each",
        30,
    ),
    "one_per_message_cumulative_over_idiomatic_cumulative": Ratio(
        "mkrpc.one_cumulative.per_s",
        "idiomatic.one_cumulative.per_s",
        "the same with acknowledgements matched: its calls return once queued, a fence at the end",
    ),
    "natural_batching_over_one_per_message": Ratio(
        "mkrpc.natural.per_s",
        "mkrpc.one_cumulative.per_s",
        "words written one by one, joined while a frame is on its way, over one a message",
        15,
    ),
    "burst_over_model_alone": Ratio(
        "mkrpc.burst_10k.per_s",
        "model.burst_10k.per_s",
        "bursts of 10,000 words end to end, over the model alone",
        0.8,
    ),
    "burst_in_runs_over_model_alone": Ratio(
        "mkrpc.burst_10k_in_runs.per_s",
        "model.burst_10k.per_s",
        "the same, all words of a CPU before those of the next",
    ),
    "burst_over_best_brokered_peer": Ratio(
        "mkrpc.burst_10k.per_s",
        "best_brokered_peer.burst_10k.per_s",
        "the same over the fastest peer with a broker, which runs the same model",
        1,
    ),
    "compiled_over_pure": Ratio(
        "compiled.burst_10k.per_s",
        "pure.burst_10k.per_s",
        "bursts of 10,000 words with the compiled model, over the pure one",
        2.5,
    ),
    "delay_128_over_2": Ratio(
        "mkrpc_128.delay.p50_us",
        "mkrpc_2.delay.p50_us",
        "the delay with 128 instances, over that with 2",
        1.5,
        at_most=True,
    ),
    "spawn_over_forkserver_128": Ratio(
        "startup_128.spawn.s",
        "startup_128.forkserver.s",
        "until 128 instances are attached, by spawn over by fork server",
        8,
    ),
}
"""What a run reports, in order."""


def ratios_of(figures: Figures, reasons: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Every ratio as a table for JSON: null where a figure is missing, with the reason.

    ``reasons``: why a subject was not measured, by its name. Only rounds count in which neither
    figure is missing: ``value`` is the ratio of the two medians over them, ``rounds`` are those of
    the rounds, pair by pair, and ``paired`` their numbers.
    """
    found = {}
    for name, ratio in RATIOS.items():
        row: dict[str, Any] = {"value": None, "means": ratio.means, "of": ratio.of}
        row |= {"over": ratio.over, "rounds": [], "goal": ratio.goal, "at_most": ratio.at_most}
        missing = [each for each in (ratio.of, ratio.over) if each not in figures]
        if missing:
            why = reasons.get(missing[0].partition(".")[0], "it was not asked for")
            row["reason"] = f"{missing[0]} was not measured: {why}"
        else:
            row |= _paired(ratio, figures[ratio.of].by_round, figures[ratio.over].by_round)
        found[name] = row
    return found


def _paired(ratio: Ratio, of: Mapping[int, float], over: Mapping[int, float]) -> dict[str, Any]:
    """What the rounds say that have both figures; the reason if there are none."""
    both = sorted(of.keys() & over.keys())
    if not both:
        return {"reason": f"no round has both {ratio.of} and {ratio.over}"}
    of_rounds, over_rounds = [of[number] for number in both], [over[number] for number in both]
    return {
        "value": round(statistics.median(of_rounds) / statistics.median(over_rounds), 4),
        "rounds": [round(a / b, 4) for a, b in zip(of_rounds, over_rounds, strict=True)],
        "paired": both,
        "of_rounds": of_rounds,
        "over_rounds": over_rounds,
    }
