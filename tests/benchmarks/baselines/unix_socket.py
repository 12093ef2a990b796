"""Peer: a Unix-socket broker, messages with their length before them."""

import selectors
import socket
import struct

from chain import Books, fork

from mkrpc.benchmarks.model import Model
from mkrpc.benchmarks.serving import chain_commands, serve

LENGTH = struct.Struct("<I")
CHUNK = 1 << 18


class Messages:
    """Whole messages over a stream socket, as many as have come at a time."""

    def __init__(self, connection):
        self.connection = connection
        self.buffer = bytearray()

    def send(self, message):
        self.connection.sendall(LENGTH.pack(len(message)) + message)

    def read(self):
        """Wait for some bytes; all messages that are whole now."""
        chunk = self.connection.recv(CHUNK)
        if not chunk:
            raise SystemExit
        self.buffer += chunk
        found, at = [], 0
        while len(self.buffer) - at >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self.buffer, at)
            if len(self.buffer) - at < LENGTH.size + length:
                break
            at += LENGTH.size
            found.append(bytes(self.buffer[at : at + length]))
            at += length
        del self.buffer[:at]
        return found


def broker(client, instance):
    books = Books()
    client, instance = Messages(client), Messages(instance)
    ways = selectors.DefaultSelector()
    ways.register(client.connection, selectors.EVENT_READ, (client, instance, books.write))
    ways.register(instance.connection, selectors.EVENT_READ, (instance, client, books.settle))
    while True:
        for key, _ in ways.select():
            source, destination, book = key.data
            for message in source.read():
                book(message)
                destination.send(message)


def instance(connection):
    model = Model()
    messages = Messages(connection)
    while True:
        for message in messages.read():
            messages.send(model.accept(message))


class Client:
    def __init__(self, connection):
        self.messages = Messages(connection)
        self.received = []

    def send(self, message):
        self.messages.send(message)

    def receive(self):
        while not self.received:
            self.received = self.messages.read()[::-1]
        return self.received.pop()


def main():
    (client, left), (right, far) = socket.socketpair(), socket.socketpair()
    fork(broker, left, right)
    fork(instance, far)
    for end in (left, right, far):
        end.close()
    serve(chain_commands(Client(client)))


if __name__ == "__main__":
    main()
