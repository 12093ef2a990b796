"""Frame numbers, acknowledgement and the window of frames (design section 3.3)."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.errors import ProtocolError
from mkrpc.link.endpoint import ACK_EVERY, FRAME_WINDOW, LinkEnd, check_wire_version
from mkrpc.link.frames import WIRE_VERSION


@dataclass
class Frame:
    frame: int = 0
    ack: int = 0


End = LinkEnd[Frame, Frame]


def test_content_is_numbered_from_one_and_a_bare_acknowledgement_is_zero() -> None:
    end: End = LinkEnd()
    assert [end.stamp(Frame()).frame for _ in range(3)] == [1, 2, 3]
    assert end.stamp_ack(Frame()) == Frame(0, 0)
    assert end.received == 0


def test_a_frame_is_retained_until_it_is_acknowledged() -> None:
    end: End = LinkEnd()
    first, second = end.stamp(Frame()), end.stamp(Frame())
    assert end.unacknowledged == (first, second)
    assert not end.receive(Frame(0, 1)), "a bare acknowledgement has nothing to apply"
    assert end.unacknowledged == (second,)


def test_the_window_closes_and_an_acknowledgement_opens_it() -> None:
    end: End = LinkEnd()
    for _ in range(FRAME_WINDOW):
        assert end.may_send
        end.stamp(Frame())
    assert not end.may_send
    with pytest.raises(AssertionError):
        end.stamp(Frame())
    end.receive(Frame(0, 1))
    assert end.may_send


def test_a_repeated_frame_is_a_duplicate_and_still_acknowledges() -> None:
    end: End = LinkEnd()
    end.stamp(Frame())
    assert end.receive(Frame(1, 0))
    assert not end.receive(Frame(1, 1))
    assert end.unacknowledged == ()


@pytest.mark.parametrize("wrong", [Frame(3, 0), Frame(2, 2), Frame(-1, 0), Frame(2, -1)])
def test_a_gap_or_an_acknowledgement_of_what_was_not_sent_changes_nothing(wrong: Frame) -> None:
    end: End = LinkEnd()
    end.stamp(Frame())
    end.receive(Frame(1, 0))
    with pytest.raises(ProtocolError):
        end.receive(wrong)
    assert (end.received, len(end.unacknowledged)) == (1, 1)


def test_an_acknowledgement_is_due_after_enough_frames() -> None:
    end: End = LinkEnd()
    for number in range(1, ACK_EVERY + 1):
        assert not end.ack_due
        end.receive(Frame(number, 0))
    assert end.ack_due
    assert end.stamp_ack(Frame()).ack == ACK_EVERY
    assert not end.ack_due


@given(st.lists(st.sampled_from(["a sends", "b sends", "a acks", "b acks"]), max_size=400))
def test_two_ends_agree_and_never_stop_for_good(actions: list[str]) -> None:
    ends: dict[str, End] = {"a": LinkEnd(), "b": LinkEnd()}
    sent = {"a": 0, "b": 0}
    for action in actions:
        name, _, what = action.partition(" ")
        end, peer = ends[name], ends["b" if name == "a" else "a"]
        if what == "sends" and end.may_send:
            sent[name] += 1
            assert peer.receive(end.stamp(Frame()))
        elif end.ack_due:
            assert not peer.receive(end.stamp_ack(Frame()))
    for name, other in (("a", "b"), ("b", "a")):
        assert ends[other].received == sent[name]
        if ends[other].ack_due:
            ends[name].receive(ends[other].stamp_ack(Frame()))
        assert ends[name].may_send, "what is not due yet leaves most of the window open"


def test_another_wire_version_is_refused_by_name() -> None:
    check_wire_version(WIRE_VERSION)
    with pytest.raises(ProtocolError, match=rf"version 99.*speaks {WIRE_VERSION}"):
        check_wire_version(99)
