"""Peer: ``multiprocessing.Pipe``, with a broker between two of them."""

from multiprocessing import Pipe, connection

from chain import Books, fork

from mkrpc.benchmarks.model import Model
from mkrpc.benchmarks.serving import chain_commands, serve


def broker(client, instance):
    books = Books()
    while True:
        for ready in connection.wait((client, instance)):
            message = ready.recv_bytes()
            if ready is client:
                books.write(message)
                instance.send_bytes(message)
            else:
                books.settle(message)
                client.send_bytes(message)


def instance(pipe):
    model = Model()
    while True:
        pipe.send_bytes(model.accept(pipe.recv_bytes()))


class Client:
    def __init__(self, pipe):
        self.send = pipe.send_bytes
        self.receive = pipe.recv_bytes


def main():
    (client, left), (right, far) = Pipe(), Pipe()
    fork(broker, left, right)
    fork(instance, far)
    serve(chain_commands(Client(client)))


if __name__ == "__main__":
    main()
