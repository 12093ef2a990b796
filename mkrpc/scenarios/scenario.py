"""What a scenario is: one class, one file.

A scenario sets up real kernels on a real bus, lets the seed choose who goes on, and looks at what
came of it. Its switches choose between what is wrong in hardware or upstream and what mends it;
nothing in it says how it ends.

To add one: a subclass of :class:`Scenario` in a file of its own, run by ``mkrpc sim FILE.py``, or
put into ``mkrpc/scenarios/library``.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mkrpc.errors import InvalidArgumentError
from mkrpc.scenarios.stage import Stage

__all__ = ["Scenario", "Switch", "description", "problem_of", "settings_of", "title"]


@dataclass(frozen=True, slots=True)
class Switch:
    """One choice that a run is given: its name, what it means, the values that it can have."""

    name: str
    text: str
    values: tuple[str, ...]


class Scenario(ABC):
    """One open problem. The docstring's first line is its title, the rest says what hardware and
    upstream do; the command shows it.

    ``defect``: a value for each switch, with which ``seed`` shows the defect. ``remedies``: what
    each changes of that, after which no seed may.
    """

    name: ClassVar[str]
    switches: ClassVar[tuple[Switch, ...]]
    defect: ClassVar[Mapping[str, str]]
    remedies: ClassVar[tuple[Mapping[str, str], ...]]
    seed: ClassVar[int] = 0

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    @abstractmethod
    def play(self) -> None:
        """Set up the machine and let it run."""

    @abstractmethod
    def check(self) -> Sequence[str]:
        """What is wrong when all is over, a line each; empty: nothing. The machine may go on for
        it, as when a question is whether something still moves."""


def title(scenario: type[Scenario]) -> str:
    """The first line of what it says of itself."""
    return description(scenario).partition("\n")[0]


def description(scenario: type[Scenario]) -> str:
    """What it says of itself."""
    return inspect.cleandoc(scenario.__doc__ or "")


def settings_of(scenario: type[Scenario], changes: Mapping[str, str]) -> dict[str, str]:
    """The settings of its defect, with ``changes``.

    Raises InvalidArgumentError for a switch or a value that it does not have.
    """
    known = {switch.name: switch.values for switch in scenario.switches}
    for name, value in changes.items():
        if name not in known:
            raise InvalidArgumentError(
                f"{scenario.name} has no switch {name!r}", advice=f"it has {', '.join(known)}"
            )
        if value not in known[name]:
            raise InvalidArgumentError(
                f"{name} of {scenario.name} is not {value!r}",
                advice=f"it is {' or '.join(known[name])}",
            )
    return dict(scenario.defect) | dict(changes)


def problem_of(scenario: type[Scenario]) -> str:
    """What is wrong with the class itself, in a line; empty if it can be played."""
    for attribute in ("switches", "defect", "remedies"):
        if not hasattr(scenario, attribute):
            return f"scenario {scenario.name} has no {attribute}"
    if not title(scenario):
        return f"scenario {scenario.name} has no docstring"
    names = [switch.name for switch in scenario.switches]
    if sorted(names) != sorted(scenario.defect):
        return f"the defect of {scenario.name} must have a value for each of {', '.join(names)}"
    if not scenario.remedies or not all(scenario.remedies):
        return f"scenario {scenario.name} has no remedy, or one that changes nothing"
    for changes in (scenario.defect, *scenario.remedies):
        try:
            settings_of(scenario, changes)
        except InvalidArgumentError as error:
            return f"{error}: {error.advice}"
    return ""
