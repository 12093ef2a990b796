"""A link that is cut and comes again: what each side lacks is sent again, in order, once."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.errors import ProtocolError
from mkrpc.link.endpoint import ACK_EVERY, FRAME_WINDOW, LinkEnd


@dataclass
class Note:
    """The least that a link can carry."""

    text: str = ""
    frame: int = 0
    ack: int = 0


def end_with(sent: int) -> LinkEnd[Note, Note]:
    end: LinkEnd[Note, Note] = LinkEnd()
    for number in range(1, sent + 1):
        end.stamp(Note(f"frame {number}"))
    return end


def all_again(end: LinkEnd[Note, Note]) -> list[Note]:
    return list(iter(end.next_again, None))


@pytest.mark.parametrize("received", range(6))
def test_what_the_peer_has_is_dropped_and_the_rest_sent_again_in_order(received: int) -> None:
    end = end_with(5)
    end.resume(received)
    assert [note.text for note in all_again(end)] == [f"frame {n}" for n in range(received + 1, 6)]
    assert [note.frame for note in end.unacknowledged] == list(range(received + 1, 6))


def test_new_content_waits_for_what_is_sent_again() -> None:
    end = end_with(3)
    end.resume(1)
    assert not end.may_send
    with pytest.raises(AssertionError):
        end.stamp(Note("new"))
    all_again(end)
    assert end.may_send
    assert end.stamp(Note("new")).frame == 4


def test_frames_go_again_with_a_fresh_acknowledgement_and_as_copies() -> None:
    """The one that was sent first may still be under way: it must not change."""
    end = end_with(1)
    first = end.unacknowledged[0]
    end.receive(Note(frame=1))
    end.resume(0)
    again = end.next_again()
    assert again is not None
    assert (again.frame, again.text, again.ack) == (1, "frame 1", 1)
    assert (first.ack, first is again) == (0, False)


def test_a_link_cut_while_it_resumes_begins_again_where_the_peer_says() -> None:
    end = end_with(4)
    end.resume(0)
    end.next_again()
    end.next_again()
    end.resume(1)
    assert [note.frame for note in all_again(end)] == [2, 3, 4]


def test_numbers_go_on_over_a_resume() -> None:
    end = end_with(2)
    end.receive(Note(frame=1))
    end.resume(2)
    assert end.received == 1
    assert end.stamp(Note()).frame == 3
    assert not end.receive(Note(frame=1))
    with pytest.raises(ProtocolError, match="frame 3 came after frame 1"):
        end.receive(Note(frame=3))


def test_the_resume_itself_acknowledges_what_was_received() -> None:
    end: LinkEnd[Note, Note] = LinkEnd()
    for number in range(1, ACK_EVERY + 1):
        end.receive(Note(frame=number))
    assert end.ack_due
    end.resume(0)
    assert not end.ack_due


def test_a_full_window_stays_full_over_a_resume() -> None:
    end = end_with(FRAME_WINDOW)
    end.resume(0)
    assert len(all_again(end)) == FRAME_WINDOW
    assert not end.may_send
    end.receive(Note(ack=1))
    assert end.may_send


def test_an_acknowledgement_overtakes_what_is_still_to_be_sent_again() -> None:
    """Of a peer that says at the resume less than it knows a moment later."""
    end = end_with(4)
    end.resume(0)
    end.receive(Note(ack=3))
    assert [note.frame for note in all_again(end)] == [4]


@pytest.mark.parametrize("received", [-1, 1, 6])
def test_a_peer_that_lost_count_is_refused_and_nothing_changes(received: int) -> None:
    end = end_with(5)
    end.receive(Note(ack=2))
    with pytest.raises(ProtocolError, match=f"has received {received} frames"):
        end.resume(received)
    assert [note.frame for note in end.unacknowledged] == [3, 4, 5]
    assert end.may_send


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_whatever_is_cut_all_arrives_once_and_in_order(rounds: list[tuple[int, int, int]]) -> None:
    """Each round sends some frames, loses all but some of them in the cut, and resumes."""
    sender: LinkEnd[Note, Note] = LinkEnd()
    receiver: LinkEnd[Note, Note] = LinkEnd()
    arrived: list[int] = []
    sent = 0

    def pass_on(notes: list[Note]) -> None:
        for note in notes:
            if receiver.receive(note):
                arrived.append(int(note.text))

    for fresh, survive, duplicates in rounds:
        pipe = all_again(sender)
        for _ in range(fresh):
            if sender.may_send:
                sent += 1
                pipe.append(sender.stamp(Note(str(sent))))
        pass_on(pipe[:survive])
        pass_on(pipe[: min(survive, duplicates)])
        sender.resume(receiver.received)
        receiver.resume(0)
    pass_on(all_again(sender))
    assert arrived == list(range(1, sent + 1))
