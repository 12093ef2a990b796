"""Marks in the sources that mean something to the compiler alone."""

from typing import TYPE_CHECKING

__all__ = ["mypyc_attr"]

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr
else:

    def mypyc_attr(**_marks):
        """What a class is to the compiler, such as ``allow_interpreted_subclasses``; here nothing.

        That of :mod:`mypy_extensions`, without the need to have it.
        """
        return lambda kind: kind
