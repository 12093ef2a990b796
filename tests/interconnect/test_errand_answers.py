"""What a kernel answers to an errand is text of its own: nothing in it can end the interconnect."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mkrpc.errors import MkrpcError, ProtocolError
from mkrpc.interconnect.asks import number_in
from mkrpc.interconnect.errands import Errand, ask_for_cpu, send_message
from mkrpc.link.frames import Reply

ERRANDS: dict[str, Callable[[Errand], Coroutine[Any, Any, Any]]] = {
    "message": lambda errand: send_message(errand, 0x4000, "hello", patience_s=0.0),
    "request": lambda errand: ask_for_cpu(errand, 1, online=True),
}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("-110", -110),
        ("9" * 18, 10**18 - 1),
        ("9" * 19, None),
        ("9" * 5000, None),
        ("²", None),
        ("1\n", None),
        ("", None),
        ("one", None),
    ],
)
def test_a_number_is_of_few_digits(text, number):
    assert number_in(text) == number


@pytest.mark.parametrize("errand", ERRANDS)
@pytest.mark.parametrize("text", ["", "9" * 5000, "²", "one", "memory two", f"memory {'9' * 5000}"])
async def test_an_answer_that_is_no_number_is_a_typed_error(machine, errand, text):
    wire = machine((0,), (1,))
    sender = wire.peers[0]
    asked = asyncio.ensure_future(ERRANDS[errand](Errand(wire.bus, wire.settle, 0, 1)))
    await asyncio.sleep(0)
    sender.replies.append(Reply(sender.commands[0].number, text=text))
    sender.push()
    with pytest.raises(ProtocolError, match=r"^instance 0 answered '.{0,40}', which is no number$"):
        await asked


async def test_a_number_of_a_message_that_cannot_be_is_a_typed_error(machine):
    wire = machine((0,), (1,))
    sender = wire.peers[0]
    asked = asyncio.ensure_future(
        send_message(Errand(wire.bus, wire.settle, 0, 1), 0x4000, "hello", patience_s=1.0)
    )
    await asyncio.sleep(0)
    sender.replies.append(Reply(sender.commands[0].number, text="memory -1"))
    sender.push()
    with pytest.raises(MkrpcError):
        await asked
