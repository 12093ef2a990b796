"""The journals of one recording: which lives of which objects there are."""

from pathlib import Path

from mkrpc.errors import InvalidArgumentError, MkrpcError, NotFoundError
from mkrpc.instance.recording import OBJECT as INSTANCE
from mkrpc.interconnect.recording import OBJECT as INTERCONNECT
from mkrpc.journal.format import SUFFIX, Journal
from mkrpc.replay.bus_life import BusLife
from mkrpc.replay.instance_life import InstanceLife
from mkrpc.replay.life import Life

__all__ = ["choose", "open_folder"]


def open_folder(folder: Path) -> tuple[list[Life], list[str]]:
    """Every life in the order of their beginnings, and what could not be read, a line each.

    Lives of one object are numbered: ``interconnect.1``, ``mk0.1``, ``mk0.2``, …

    :raises NotFoundError: no such folder.
    :raises InvalidArgumentError: it holds no journal.
    """
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}", advice="`mkrpc up --record` makes one")
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    if not paths:
        raise InvalidArgumentError(
            f"{folder} holds no journals", advice="name a folder that `mkrpc up --record` made"
        )
    journals: list[Journal] = []
    unread: list[str] = []
    for path in paths:
        try:
            journals.append(Journal(path))
        except MkrpcError as error:
            unread.append(str(error))
    journals.sort(key=lambda journal: (journal.header["began_us"], journal.path.name))
    lives: list[Life] = []
    counts: dict[str, int] = {}
    for journal in journals:
        what = _object_of(journal)
        counts[what] = counts.get(what, 0) + 1
        kind = BusLife if journal.header["object"] == INTERCONNECT else InstanceLife
        lives.append(kind(f"{what}.{counts[what]}", journal))
    return lives, unread


def choose(lives: list[Life], chosen: str) -> list[Life]:
    """Those of one object, or one life; all if ``chosen`` is empty.

    :raises NotFoundError: no such object.
    """
    found = [life for life in lives if chosen in ("", life.name, life.name.rpartition(".")[0])]
    if not found:
        names = ", ".join(sorted(life.name for life in lives))
        raise NotFoundError(f"nothing named {chosen!r} was recorded", advice=f"there are: {names}")
    return found


def _object_of(journal: Journal) -> str:
    header = journal.header
    if header["object"] == INTERCONNECT:
        return INTERCONNECT
    assert header["object"] == INSTANCE
    return header["name"] or f"{INSTANCE}{header['instance_id']}"
