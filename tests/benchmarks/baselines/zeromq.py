"""Peer: ZeroMQ, PUSH and PULL over ipc, with a broker between two pairs."""

import tempfile

from chain import Books, fork

from mkrpc.benchmarks.model import Model
from mkrpc.benchmarks.serving import chain_commands, serve

try:
    import zmq
except ImportError:
    zmq = None


def bound(context, kind, address):
    socket = context.socket(kind)
    socket.bind(address)
    return socket


def connected(context, kind, address):
    socket = context.socket(kind)
    socket.connect(address)
    return socket


def broker(directory):
    context = zmq.Context()
    books = Books()
    from_client = bound(context, zmq.PULL, f"ipc://{directory}/1")
    to_instance = bound(context, zmq.PUSH, f"ipc://{directory}/2")
    from_instance = bound(context, zmq.PULL, f"ipc://{directory}/3")
    to_client = bound(context, zmq.PUSH, f"ipc://{directory}/4")
    poller = zmq.Poller()
    poller.register(from_client, zmq.POLLIN)
    poller.register(from_instance, zmq.POLLIN)
    while True:
        for ready, _ in poller.poll():
            message = ready.recv()
            if ready is from_client:
                books.write(message)
                to_instance.send(message)
            else:
                books.settle(message)
                to_client.send(message)


def instance(directory):
    context = zmq.Context()
    model = Model()
    messages = connected(context, zmq.PULL, f"ipc://{directory}/2")
    acknowledgements = connected(context, zmq.PUSH, f"ipc://{directory}/3")
    while True:
        acknowledgements.send(model.accept(messages.recv()))


class Client:
    def __init__(self, directory):
        context = zmq.Context()
        self.send = connected(context, zmq.PUSH, f"ipc://{directory}/1").send
        self.receive = connected(context, zmq.PULL, f"ipc://{directory}/4").recv


def main():
    if zmq is None:
        serve({}, missing="not installed: pyzmq")
        return
    with tempfile.TemporaryDirectory(prefix="mkz") as directory:
        fork(broker, directory)
        fork(instance, directory)
        serve(chain_commands(Client(directory)))


if __name__ == "__main__":
    main()
