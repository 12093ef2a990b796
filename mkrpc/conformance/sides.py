"""Where implementations part from the model: who is on which side of each deviation."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mkrpc.conformance.comparison import Comparison
from mkrpc.conformance.deviations import DEVIATIONS, UNEXPLAINED
from mkrpc.conformance.linux_deviations import LINUX_DEVIATIONS

__all__ = ["Side", "linux_side", "merged", "side_as_json", "sides_of", "unseen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One deviation: in how many ``scenarios`` who departs by it, and who stays with the model.

    ``apart``: engine -> scenarios in which it departs. ``along``: engines that came to the same
    step of such a scenario, can be compared in that field, and did as the model.
    """

    name: str
    scenarios: int
    apart: Mapping[str, int]
    along: Mapping[str, int]

    @property
    def rules(self) -> tuple[str, ...]:
        """Numbers of docs/rules.md."""
        return _TEXTS[self.name][0]

    @property
    def engine(self) -> str:
        """What those who are apart do."""
        return _TEXTS[self.name][1]

    @property
    def model(self) -> str:
        """Which side the model takes, and why."""
        return _TEXTS[self.name][2]

    @property
    def with_model(self) -> tuple[str, ...]:
        """The engines that are never apart and were seen to do as the model."""
        return tuple(sorted(self.along.keys() - self.apart.keys()))


_TEXTS: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    **{each.name: (each.rules, each.engine, each.model) for each in DEVIATIONS},
    **{each.name: (each.rules, each.engine, each.model) for each in LINUX_DEVIATIONS},
    UNEXPLAINED: ((), "differs from the model", "no rule explains it"),
}
_ORDER = list(_TEXTS)


def sides_of(comparisons: Sequence[Comparison]) -> tuple[Side, ...]:
    """Of one scenario, from the comparisons of all who ran it."""
    apart: dict[str, Counter[str]] = {}
    along: dict[str, Counter[str]] = {}
    for comparison in comparisons:
        for departure in comparison.departures:
            apart.setdefault(departure.name, Counter())[comparison.engine] = 1
            along.setdefault(departure.name, Counter()).update(
                {
                    other.engine
                    for other in comparisons
                    if other.went_along(departure.step, departure.difference.field)
                }
            )
    return tuple(
        Side(
            name=name,
            scenarios=1,
            apart=apart[name],
            along=Counter(dict.fromkeys(along[name].keys() - apart[name].keys(), 1)),
        )
        for name in apart
    )


def linux_side(engine: str, name: str) -> Side:
    """Of one test of a patched kernel whose counts differ by the deviation ``name``."""
    return Side(name=name, scenarios=1, apart={engine: 1}, along={})


def merged(sides: Iterable[Side]) -> tuple[Side, ...]:
    """Of many scenarios, in the order of the table of deviations."""
    by_name: dict[str, list[Side]] = {}
    for side in sides:
        by_name.setdefault(side.name, []).append(side)
    return tuple(
        Side(
            name=name,
            scenarios=sum(side.scenarios for side in by_name[name]),
            apart=_sum(side.apart for side in by_name[name]),
            along=_sum(side.along for side in by_name[name]),
        )
        for name in sorted(by_name, key=_ORDER.index)
    )


def unseen(sides: Iterable[Side]) -> tuple[Side, ...]:
    """The deviations that are known here and that none of ``sides`` is about."""
    seen = {side.name for side in sides} | {UNEXPLAINED}
    return tuple(
        Side(name=name, scenarios=0, apart={}, along={}) for name in _ORDER if name not in seen
    )


def _sum(counts: Iterable[Mapping[str, int]]) -> Mapping[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items()))


def side_as_json(side: Side) -> dict[str, object]:
    """One deviation, by the names of its fields."""
    return {
        "name": side.name,
        "rules": list(side.rules),
        "scenarios": side.scenarios,
        "apart": dict(side.apart),
        "with_model": list(side.with_model),
        "engine": side.engine,
        "model": side.model,
    }
