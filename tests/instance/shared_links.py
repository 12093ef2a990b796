"""What two processes of a test do to their ends of a link, without kernels."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from mkrpc.instance.instructions import Load, Store
from mkrpc.instance.link_files import LinkFiles
from mkrpc.instance.link_windows import LinkStore, LinkWindows
from mkrpc.instance.memory import SharedMemory
from mkrpc.instance.multikernel.live import LiveLinks
from mkrpc.instance.multikernel.post import Post
from mkrpc.link.messages import MAX_MESSAGE_BYTES


class End:
    """One end, whose instructions are executed at once."""

    def __init__(self, own: int, incarnation: bytes, store: LinkStore, *, links="memory") -> None:
        self.windows = LinkWindows(own, incarnation, store, max_data=MAX_MESSAGE_BYTES)
        self.memory = SharedMemory(bytearray(8), self.windows)
        kernel = SimpleNamespace(
            config=SimpleNamespace(instance_id=own, links=links),
            memory=self.memory,
            source=SimpleNamespace(roster=1),
            events=[],
        )
        kernel.post = self.post = Post(kernel)
        self.channel = LiveLinks(kernel)
        self.events = kernel.events

    def execute(self, steps):
        """Every instruction of it; what it returns."""
        result = None
        while True:
            try:
                instruction = steps.send(result)
            except StopIteration as stop:
                return stop.value
            result = self._perform(instruction)

    def walk(self, steps) -> Iterator[None]:
        """The same, and others may do something in between."""
        result = None
        while True:
            try:
                instruction = steps.send(result)
            except StopIteration:
                return
            result = self._perform(instruction)
            yield

    def _perform(self, instruction):
        if isinstance(instruction, Load):
            return self.memory.load(instruction.address, instruction.size)
        if isinstance(instruction, Store):
            self.memory.store(instruction.address, instruction.value, instruction.size)
        return None

    def send(self, target: int, data: bytes) -> int:
        return self.execute(self.channel.send(target, 0x4000, data))

    def receive(self):
        return self.execute(self.channel.receive())


def payload(number: int) -> bytes:
    """Different in every word, and in length."""
    return number.to_bytes(8, "little") * (1 + number % 32)


def main(directory: str, incarnation: str, own: int, first: int, count: int) -> None:
    """Be a process that sends ``count`` messages to instance 0, and waits for its end."""
    end = End(own, bytes.fromhex(incarnation), LinkFiles(Path(directory)))
    end.windows.open()
    print("open", flush=True)
    for number in range(first, first + count):
        while end.send(0, payload(number)) != 0:
            pass
    print("sent", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
