"""Baseline: the gRPC design that one would write first.

Three processes, synchronous grpcio on its defaults, protobuf messages: a unary call injects, a
server stream carries interrupts to the instance, a unary call completes each of them. The instance
runs the same model as mkrpc's. The interconnect keeps a count of what was written, delivered and
coalesced for each destination and vector.

``each``: the call of an injection returns once its handler has run. ``cumulative``: it returns once
the interrupt is queued, and a fence waits for all of them.

Not alike: it has no sequence numbers, no resend, no policy, no windows of its own, no leases.
"""

import multiprocessing
import queue
import tempfile
import threading
import time
from collections import Counter
from concurrent import futures

import grpc
from v1 import idiomatic_pb2 as pb
from v1 import idiomatic_pb2_grpc

from mkrpc.benchmarks.model import Model
from mkrpc.benchmarks.serving import ACKNOWLEDGEMENT, passed, serve, words_of

WORKERS = 300
"""More than calls under way: each call that waits for its handler holds one."""
PATIENCE_S = 30.0


class Interconnect(idiomatic_pb2_grpc.InterconnectServicer):
    """Routes interrupts to the one instance there is, and keeps the books."""

    def __init__(self):
        self.lock = threading.Condition()
        self.number = 0
        self.waiting = {}
        self.to_instance = queue.SimpleQueue()
        self.books = Counter()
        self.handled = self.coalesced = self.under_way = 0

    def _queue(self, request, done):
        with self.lock:
            self.number += 1
            self.waiting[self.number] = done
            self.under_way += 1
            for word in request.icr:
                self.books[word >> 32, word & 0xFF] += 1
            self.to_instance.put(pb.Interrupt(number=self.number, icr=request.icr))

    def Inject(self, request, context):  # noqa: N802 - named by the generated code
        done = futures.Future()
        self._queue(request, done)
        completed = done.result()
        return pb.InjectResponse(
            handler_began_ns=completed.handler_began_ns,
            handled=completed.handled,
            coalesced=completed.coalesced,
        )

    def Post(self, request, context):  # noqa: N802
        self._queue(request, None)
        return pb.PostResponse()

    def Fence(self, request, context):  # noqa: N802
        with self.lock:
            self.lock.wait_for(lambda: not self.under_way)
            return pb.FenceResponse(handled=self.handled, coalesced=self.coalesced)

    def Subscribe(self, request, context):  # noqa: N802
        while context.is_active():
            yield self.to_instance.get()

    def Complete(self, request, context):  # noqa: N802
        with self.lock:
            done = self.waiting.pop(request.number)
            self.handled += request.handled
            self.coalesced += request.coalesced
            self.under_way -= 1
            if not self.under_way:
                self.lock.notify_all()
        if done is not None:
            done.set_result(request)
        return pb.CompleteResponse()


def interconnect(address):
    server = grpc.server(futures.ThreadPoolExecutor(WORKERS))
    idiomatic_pb2_grpc.add_InterconnectServicer_to_server(Interconnect(), server)
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


def stub_at(address):
    channel = grpc.insecure_channel(address)
    grpc.channel_ready_future(channel).result(PATIENCE_S)
    return idiomatic_pb2_grpc.InterconnectStub(channel)


def instance(address):
    stub = stub_at(address)
    model = Model()
    for interrupt in stub.Subscribe(pb.SubscribeRequest(instance_id=1)):
        acknowledgement = model.accept(words_of(interrupt.icr))
        began_ns, handled, coalesced = ACKNOWLEDGEMENT.unpack(acknowledgement)
        stub.Complete(
            pb.CompleteRequest(
                number=interrupt.number,
                handler_began_ns=began_ns,
                handled=handled,
                coalesced=coalesced,
            )
        )


class Client:
    def __init__(self, stub):
        self.stub = stub

    def delay(self, count, word):
        delays_us = []
        for _ in range(count):
            began_ns = time.monotonic_ns()
            response = self.stub.Inject(pb.InjectRequest(icr=[word]))
            delays_us.append((response.handler_began_ns - began_ns) / 1000)
        return {"delays_us": delays_us}

    def stream(self, messages, words, window):
        """Each acknowledged: ``window`` calls under way at most."""
        room = threading.Semaphore(window)
        calls = []
        began = time.perf_counter()
        for _ in range(messages):
            room.acquire()
            call = self.stub.Inject.future(pb.InjectRequest(icr=words))
            call.add_done_callback(lambda _call: room.release())
            calls.append(call)
        responses = [call.result() for call in calls]
        seconds = time.perf_counter() - began
        handled = sum(response.handled for response in responses)
        coalesced = sum(response.coalesced for response in responses)
        return passed(seconds, messages * len(words), handled, coalesced)

    def stream_cumulative(self, messages, words, window):
        """The same with calls that return once queued, and one fence at the end."""
        before = self.stub.Fence(pb.FenceRequest())
        room = threading.Semaphore(window)
        began = time.perf_counter()
        calls = []
        for _ in range(messages):
            room.acquire()
            call = self.stub.Post.future(pb.InjectRequest(icr=words))
            call.add_done_callback(lambda _call: room.release())
            calls.append(call)
        for call in calls:
            call.result()
        after = self.stub.Fence(pb.FenceRequest())
        seconds = time.perf_counter() - began
        return passed(
            seconds,
            messages * len(words),
            after.handled - before.handled,
            after.coalesced - before.coalesced,
        )


def main():
    with tempfile.TemporaryDirectory(prefix="ig") as directory:
        address = f"unix:{directory}/interconnect"
        spawn = multiprocessing.get_context("spawn")
        for role in (interconnect, instance):
            spawn.Process(target=role, args=(address,), daemon=True).start()
        client = Client(stub_at(address))
        client.delay(1, 0xEA)  # the instance has subscribed
        serve(
            {
                "delay": client.delay,
                "stream": client.stream,
                "stream_cumulative": client.stream_cumulative,
            }
        )


if __name__ == "__main__":
    main()
