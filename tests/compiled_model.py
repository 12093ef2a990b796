"""What a test can do to classes that are Python, and not to compiled ones."""

import sys

import pytest

from mkrpc.compiled.finder import state

CANNOT_BE_CHANGED = "the compiled model cannot be changed from outside; MKRPC_PURE=1 runs this"


def is_compiled(kind: type) -> bool:
    """Is this class machine code?"""
    file = getattr(sys.modules[kind.__module__], "__file__", None)
    return file is not None and file.endswith(".so")


def skip_if_compiled(kind: type) -> None:
    """For a test that is about to put something else in the place of a method."""
    if is_compiled(kind):
        pytest.skip(CANNOT_BE_CHANGED)


def skip_pure(items: list[pytest.Item]) -> None:
    """Leave out what is marked ``pure``, if the model is compiled."""
    if state().compiled:
        for item in items:
            if item.get_closest_marker("pure"):
                item.add_marker(pytest.mark.skip(reason=CANNOT_BE_CHANGED))
