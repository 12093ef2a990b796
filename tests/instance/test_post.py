"""What an instance remembers of the messages that came to it through the interconnect."""

import pytest

from mkrpc.instance.multikernel import post as post_module
from mkrpc.instance.multikernel.post import Post
from mkrpc.link.messages import Arrival, Taken


def arrival(source: bytes, seq: int = 1) -> Arrival:
    return Arrival(1, source * 16, seq, 0x4000, b"data", 1)


def test_a_sender_is_not_forgotten_while_a_message_of_it_waits_or_is_to_be_told_of(
    make_kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message would be taken a second time when another interconnect has it sent again."""
    monkeypatch.setattr(post_module, "MAX_SOURCES", 2)
    post = Post(make_kernel())
    post.arrived(arrival(source) for source in (b"a", b"b", b"c", b"d"))
    assert post.take() == arrival(b"a")
    post.arrived([arrival(b"e")])
    assert post.report() == [Taken(b"a" * 16, 1)]
    post.begin_again()
    post.arrived([arrival(b"b")])
    assert [post.take() for _ in range(5)] == [
        *(arrival(source) for source in (b"b", b"c", b"d", b"e")),
        None,
    ]
    while post.report():
        pass
    post.arrived([arrival(b"f")])
    post.arrived([arrival(b"c"), arrival(b"f")])
    assert [post.take(), post.take()] == [arrival(b"f"), arrival(b"c")], "the oldest are forgotten"


def test_what_came_from_an_earlier_interconnect_leaves_the_next_one_its_room(
    make_kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may not know of it: the senders may have died with the one before."""
    monkeypatch.setattr(post_module, "MAX_QUEUED_MESSAGES", 2)
    post = Post(make_kernel())
    post.arrived([arrival(b"a"), arrival(b"b")])
    post.begin_again()
    post.arrived([arrival(b"c"), arrival(b"d")])
    assert [post.take() for _ in range(4)] == [
        arrival(source) for source in (b"a", b"b", b"c", b"d")
    ]
