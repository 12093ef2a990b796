"""What every checker is, and what it raises."""

from typing import ClassVar, NoReturn

from mkrpc.simulation.events import Standing

__all__ = ["Checker", "Violation"]


class Violation(Exception):  # noqa: N818 - the word of the field: the run is wrong, not the checker
    """A law is broken; ``checker`` names whose law, the text is one line."""

    def __init__(self, checker: str, text: str) -> None:
        super().__init__(text)
        self.checker = checker


class Checker:
    """One law, over a whole run. ``listens`` are the types of the events that it is shown."""

    name: ClassVar[str] = ""
    listens: ClassVar[tuple[type, ...]] = ()

    def on_event(self, event: object) -> None:
        """Something has happened. Raises :class:`Violation`."""

    def at_end(self, standing: Standing) -> None:
        """The run is over. Raises :class:`Violation`."""

    def fail(self, text: str) -> NoReturn:
        """The law is broken."""
        raise Violation(self.name, text)
