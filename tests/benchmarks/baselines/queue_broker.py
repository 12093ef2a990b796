"""Peer: ``multiprocessing.Queue``, four of them, with a broker that has a thread for each way."""

import multiprocessing
import threading

from chain import Books, fork

from mkrpc.benchmarks.model import Model
from mkrpc.benchmarks.serving import chain_commands, serve


def pass_on(source, destination, book):
    while True:
        message = source.get()
        book(message)
        destination.put(message)


def broker(from_client, to_instance, from_instance, to_client):
    books = Books()
    threading.Thread(
        target=pass_on, args=(from_instance, to_client, books.settle), daemon=True
    ).start()
    pass_on(from_client, to_instance, books.write)


def instance(messages, acknowledgements):
    model = Model()
    while True:
        acknowledgements.put(model.accept(messages.get()))


class Client:
    def __init__(self, messages, acknowledgements):
        self.send = messages.put
        self.receive = acknowledgements.get


def main():
    queues = [multiprocessing.get_context("fork").Queue() for _ in range(4)]
    from_client, to_instance, from_instance, to_client = queues
    fork(broker, *queues)
    fork(instance, to_instance, from_instance)
    serve(chain_commands(Client(from_client, to_client)))


if __name__ == "__main__":
    main()
