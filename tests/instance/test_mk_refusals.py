"""Refusals of the framework that no other test reaches."""

from errno import EBUSY

import pytest

from mkrpc import Topology
from mkrpc.errors import AlreadyExistsError, ProtocolError
from mkrpc.instance.multikernel.mk_message import MkType
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
    with pytest.raises(ProtocolError, match=f"more than {MAX_QUEUED_MESSAGES} messages to take"):
        post.arrived(numbered[-1:])
    assert post.take() == numbered[0]
    post.arrived(numbered[-1:])


@pytest.fixture
def pair(mk_machine):
    """Two kernels; the second one has a spare CPU, APIC id 3."""
    instances = [{"id": 0, "cpu_count": 2}, {"id": 1, "cpu_count": 2, "spare_cpus": 1}]
    return mk_machine(Topology.from_dict({"instances": instances}))


def test_a_cpu_that_cannot_be_brought_up_is_ebusy(pair):
    results = []

    def program(cpu):
        results.append((yield from cpu.kernel.multikernel.hotplug.add_cpu(1, 3)))

    assert pair.kernels[1].multikernel.hotplug is not None
    pair.kernels[1].on_startup = lambda cpu, vector: None
    pair.kernels[0].start_program(0, program)
    pair.settle()
    assert results == [-EBUSY]
    lines = [record.text for record in pair.kernels[1].log.since(0)]
    assert any("on_startup was replaced" in line for line in lines)


def test_requests_for_cpus_need_their_type_free(pair):
    multikernel = pair.kernels[0].multikernel
    assert multikernel.messages.register_handler(MkType.MK_MSG_RESOURCE, print) == 0
    with pytest.raises(AlreadyExistsError, match="MK_MSG_RESOURCE has a handler already"):
        assert multikernel.hotplug
