"""Channels by name, and out of a file of the user's."""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from mkrpc.errors import InvalidArgumentError, NotFoundError
from mkrpc.instance.multikernel import channels as room
from mkrpc.instance.multikernel.channel import Channel
from mkrpc.python_file import execute

__all__ = ["DEFAULT_CHANNEL", "channel_named", "channels", "load_channels"]

DEFAULT_CHANNEL = "link-rings"
"""G5."""


def channels() -> dict[str, type[Channel]]:
    """All channels of the package ``channels``, by name."""
    found: dict[str, type[Channel]] = {}
    for entry in pkgutil.iter_modules(room.__path__):
        module = importlib.import_module(f"{room.__name__}.{entry.name}")
        found |= {each.name: each for each in _defined_in(module)}
    return dict(sorted(found.items()))


def channel_named(name: str) -> type[Channel]:
    """Raises NotFoundError, which names those that there are."""
    known = channels()
    if name not in known:
        raise NotFoundError(f"no channel {name!r}", advice=f"there are {', '.join(known)}")
    return known[name]


def load_channels(path: Path) -> list[type[Channel]]:
    """The channels that a Python file defines; it is executed.

    Raises InvalidArgumentError for a file that cannot be executed, and for one that defines none.
    """
    wanted = "a channel is one of mkrpc compare --list, or a Python file"
    module = execute(path, wanted=wanted)
    found = _defined_in(module)
    if not found:
        raise InvalidArgumentError(
            f"{path} defines no channel", advice="subclass Channel and give it a name"
        )
    return found


def _defined_in(module: ModuleType) -> list[type[Channel]]:
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Channel)
        and value.__module__ == module.__name__
        and not getattr(value, "__abstractmethods__", None)
        and isinstance(getattr(value, "name", None), str)
    ]
