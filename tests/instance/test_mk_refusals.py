"""What an interconnect says of messages and cannot be: the link is over, by name."""

import pytest

from mkrpc.errors import ProtocolError
from mkrpc.instance.multikernel.post import Post
from mkrpc.link.messages import MAX_QUEUED_MESSAGES, Arrival, SettledMessages
from mkrpc.outcome import Outcome


@pytest.mark.parametrize("last", [2, 1 << 40])
def test_messages_that_were_never_sent_cannot_be_settled(make_kernel, last):
    post = Post(make_kernel())
    with pytest.raises(ProtocolError, match="messages to instance 3 that were never sent"):
        post.settle([SettledMessages(3, 1, 1, Outcome.DELIVERED)])
    assert post.send(3, 0x4000, b"one") == 0
    with pytest.raises(ProtocolError, match="messages to instance 3 that were never sent"):
        post.settle([SettledMessages(3, 1, last, Outcome.DELIVERED)])
    assert post.outstanding(3) == 1


def test_more_messages_than_may_wait_are_refused(make_kernel):
    post = Post(make_kernel())
    numbered = [
        Arrival(1, bytes(16), seq, 0x4000, b"data", 1) for seq in range(1, MAX_QUEUED_MESSAGES + 2)
    ]
    post.arrived(numbered[:-1])
    with pytest.raises(ProtocolError, match="more than 8192 messages to take"):
        post.arrived(numbered[-1:])
    assert post.take() == numbered[0]
    post.arrived(numbered[-1:])
