"""Peer: rings in shared memory, a broker between them, and an eventfd each to wake the reader.

Each ring has one writer and one reader.
"""

import mmap
import os
import select
import struct

from chain import Books, fork

from mkrpc.benchmarks.model import Model
from mkrpc.benchmarks.serving import chain_commands, serve

RING_BYTES = 1 << 21
HEAD, TAIL, DATA = 0, 8, 64
"""Bytes written and bytes read so far, and where the ring itself begins."""
LENGTH = struct.Struct("<I")


class Ring:
    """Messages of one writer for one reader; counts of bytes only ever grow."""

    def __init__(self):
        self.memory = mmap.mmap(-1, DATA + RING_BYTES)
        self.counts = memoryview(self.memory).cast("Q")
        self.written = os.eventfd(0)
        self.read = os.eventfd(0)

    def put(self, message):
        data = LENGTH.pack(len(message)) + message
        head = self.counts[0]
        while head + len(data) - self.counts[1] > RING_BYTES:
            os.eventfd_read(self.read)
        at = head % RING_BYTES
        first = min(len(data), RING_BYTES - at)
        self.memory[DATA + at : DATA + at + first] = data[:first]
        self.memory[DATA : DATA + len(data) - first] = data[first:]
        self.counts[0] = head + len(data)
        os.eventfd_write(self.written, 1)

    def take(self):
        """The next message; None if there is none."""
        tail = self.counts[1]
        if tail == self.counts[0]:
            return None
        (length,) = LENGTH.unpack(self._bytes(tail, LENGTH.size))
        message = self._bytes(tail + LENGTH.size, length)
        self.counts[1] = tail + LENGTH.size + length
        os.eventfd_write(self.read, 1)
        return message

    def get(self):
        """The next message, whenever it comes."""
        while (message := self.take()) is None:
            os.eventfd_read(self.written)
        return message

    def _bytes(self, tail, length):
        at = tail % RING_BYTES
        first = min(length, RING_BYTES - at)
        return (
            self.memory[DATA + at : DATA + at + first] + self.memory[DATA : DATA + length - first]
        )


def broker(from_client, to_instance, from_instance, to_client):
    books = Books()
    waiting = select.epoll()
    waiting.register(from_client.written, select.EPOLLIN)
    waiting.register(from_instance.written, select.EPOLLIN)
    while True:
        for descriptor, _ in waiting.poll():
            os.eventfd_read(descriptor)
        while (message := from_client.take()) is not None:
            books.write(message)
            to_instance.put(message)
        while (message := from_instance.take()) is not None:
            books.settle(message)
            to_client.put(message)


def instance(messages, acknowledgements):
    model = Model()
    while True:
        acknowledgements.put(model.accept(messages.get()))


class Client:
    def __init__(self, messages, acknowledgements):
        self.send = messages.put
        self.receive = acknowledgements.get


def main():
    rings = [Ring() for _ in range(4)]
    from_client, to_instance, from_instance, to_client = rings
    fork(broker, *rings)
    fork(instance, to_instance, from_instance)
    serve(chain_commands(Client(from_client, to_client)))


if __name__ == "__main__":
    main()
