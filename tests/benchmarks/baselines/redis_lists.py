"""Peer: Redis, lists as queues (LPUSH, BRPOP); the server is the broker, on a Unix socket.

Not alike: the server cannot keep the books, so the client does.
"""

import shutil
import subprocess
import tempfile
import time

from chain import Books, fork

from mkrpc.benchmarks.model import Model
from mkrpc.benchmarks.serving import chain_commands, serve

try:
    import redis
except ImportError:
    redis = None

PATIENCE_S = 10.0


def at(path):
    """A connection, however long the server takes to start."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            found = redis.Redis(unix_socket_path=path, socket_timeout=None)  # lists may be empty
            found.ping()
            return found
        except redis.exceptions.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def instance(path):
    server = at(path)
    model = Model()
    while True:
        _, message = server.brpop("messages")
        server.lpush("acknowledgements", model.accept(message))


class Client:
    def __init__(self, path):
        self.server = at(path)
        self.books = Books()

    def send(self, message):
        self.books.write(message)
        self.server.lpush("messages", message)

    def receive(self):
        _, acknowledgement = self.server.brpop("acknowledgements")
        self.books.settle(acknowledgement)
        return acknowledgement


def main():
    program = shutil.which("redis-server")
    if redis is None or program is None:
        serve({}, missing="not installed: redis-server" if redis else "not installed: redis")
        return
    with tempfile.TemporaryDirectory(prefix="mkr") as directory:
        path = f"{directory}/s"
        options = ("--port", "0", "--unixsocket", path, "--save", "", "--dir", directory)
        server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        try:
            fork(instance, path)
            serve(chain_commands(Client(path)), not_alike="the client keeps the books")
        finally:
            server.kill()
            server.wait()


if __name__ == "__main__":
    main()
