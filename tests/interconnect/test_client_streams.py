"""When a client that has ended its stream is forgotten: docs/reliability.md, "Clients"."""

from collections import Counter

import pytest

from mkrpc.interconnect import client_streams
from mkrpc.interconnect.client_streams import ClientStreams

CLIENT, OTHER = b"client----------", b"another---------"

Step = tuple[str, ...]

OPEN_BOTH: list[Step] = [("open", "older"), ("open", "newer"), ("name", "newer")]


def play(steps: list[Step]) -> tuple[list[int], list[bytes]]:
    """How many are forgotten after each step, and who."""
    counts: list[int] = []
    forgotten: list[bytes] = []
    calls: Counter[bytes] = Counter()
    streams: ClientStreams[str] = ClientStreams(
        forget=forgotten.append, latest_call=calls.__getitem__
    )
    for what, stream, *whose in steps:
        match what:
            case "call":
                calls[CLIENT] += 1
            case "open":
                streams.opened(stream)
            case "name":
                streams.named(stream, OTHER if whose else CLIENT)
            case "end":
                streams.ended(stream, well=True)
            case "break":
                streams.ended(stream, well=False)
        counts.append(len(forgotten))
    return counts, forgotten


@pytest.mark.parametrize(
    ("steps", "after"),
    [
        pytest.param([("open", "one"), ("name", "one"), ("end", "one")], [0, 0, 1], id="its only"),
        pytest.param([("open", "one"), ("end", "one")], [0, 0], id="has never said whose it is"),
        pytest.param([("open", "one"), ("name", "one"), ("break", "one")], [0, 0, 0], id="broke"),
        pytest.param(
            [*OPEN_BOTH, ("end", "newer"), ("break", "older")],
            [0, 0, 0, 0, 1],
            id="the older one breaks, and had not said whose it is",
        ),
        pytest.param(
            [*OPEN_BOTH, ("end", "newer"), ("name", "older", "other"), ("break", "older")],
            [0, 0, 0, 0, 1, 1],
            id="the older one turns out to be another's",
        ),
        pytest.param(
            [*OPEN_BOTH, ("end", "newer"), ("name", "older"), ("break", "older")],
            [0, 0, 0, 0, 0, 1],
            id="the older one is its own, and speaks late",
        ),
        pytest.param(
            [*OPEN_BOTH, ("end", "newer"), ("name", "older"), ("end", "older")],
            [0, 0, 0, 0, 0, 1],
            id="the older one ends well too",
        ),
        pytest.param(
            [*OPEN_BOTH, ("name", "older"), ("end", "newer"), ("break", "older")],
            [0, 0, 0, 0, 0, 1],
            id="both are known",
        ),
        pytest.param(
            [*OPEN_BOTH, ("name", "older", "other"), ("end", "newer")],
            [0, 0, 0, 0, 1],
            id="the older one is known to be another's",
        ),
        pytest.param(
            [
                *OPEN_BOTH,
                ("end", "newer"),
                *[("open", "third"), ("name", "third"), ("call", "third")],
                *[("break", "older"), ("end", "third")],
            ],
            [0, 0, 0, 0, 0, 0, 0, 0, 1],
            id="it is back before the older one is over",
        ),
        pytest.param(
            [*OPEN_BOTH, ("end", "newer"), ("call", ""), ("break", "older")],
            [0, 0, 0, 0, 0, 0],
            id="it calls again, by whatever way",
        ),
        pytest.param(
            [*OPEN_BOTH, ("end", "newer"), ("open", "third"), ("break", "older")],
            [0, 0, 0, 0, 0, 1],
            id="what is opened later is not an older one",
        ),
    ],
)
def test_who_ends_well_is_forgotten_once_nothing_of_it_can_come_late(
    steps: list[Step], after: list[int]
) -> None:
    counts, forgotten = play(steps)
    assert counts == after
    assert set(forgotten) <= {CLIENT}


def test_of_more_than_may_wait_the_first_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_streams, "MAX_LEAVING_CLIENTS", 2)
    forgotten: list[bytes] = []
    streams: ClientStreams[str] = ClientStreams(forget=forgotten.append, latest_call=len)
    streams.opened("idle")
    for name in (b"1", b"2", b"3"):
        streams.opened(str(name))
        streams.named(str(name), name)
        streams.ended(str(name), well=True)
    assert (len(streams), forgotten) == (1, [b"1"])
    streams.ended("idle", well=False)
    assert (len(streams), forgotten) == (0, [b"1", b"2", b"3"])
