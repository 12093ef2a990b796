"""What the tests of the command line share: a runner, its error lines, a scripted cluster.

Whole clusters are tested end to end elsewhere; here the other side of the wire is scripted.
"""

import pytest
from click.testing import CliRunner

from mkrpc.cli import main
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import types_pb2
from mkrpc.x86.irq_stat import FIELDS


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a command where no cluster lives; gives click's result."""
    monkeypatch.setenv("MKRPC_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("MKRPC_NAME", raising=False)
    return lambda *args: CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture
def told():
    """``told(result)``: the two lines of an error, what happened and what to do."""

    def lines(result) -> tuple[str, str]:
        assert "Traceback" not in result.output
        what, advice = result.stderr.splitlines()
        assert what.startswith("mkrpc: ")
        assert advice.startswith("  → ")
        return what, advice

    return lines


ACCOUNT = types_pb2.CpuAccount(
    cpu=0,
    irr=(1 << 0xEA | 1 << 0x31).to_bytes(32, "little"),
    isr=b"",
    interrupts_enabled=True,
    activity="idle",
    multikernel=5,
    stats=[types_pb2.IrqStatCount(field=FIELDS.index("irq_call_count"), count=5)],
)
CLUSTER = pb.GetClusterResponse(
    address="unix:/x",
    epoch=0xABC,
    interconnect_pid=11,
    policy="bare-metal",
    instances=[
        pb.Instance(
            id=1,
            name="web",
            state=pb.INSTANCE_STATE_ACTIVE,
            incarnation=bytes(range(16)),
            pid=77,
            incarnations=1,
            cpus=[
                pb.Cpu(
                    address=types_pb2.CpuAddress(apic_id=2, mode=types_pb2.APIC_MODE_X2APIC),
                    account=ACCOUNT,
                )
            ],
        ),
        pb.Instance(id=2, name="db", state=pb.INSTANCE_STATE_FAILED, detail="killed by signal 9"),
    ],
)


@pytest.fixture
def account() -> types_pb2.CpuAccount:
    """CPU 0 with CAL 5, and with 0x31 and 0xea pending."""
    return ACCOUNT


@pytest.fixture
def two_instances() -> pb.GetClusterResponse:
    """Instance 1, web, is active with one CPU (APIC id 2); instance 2, db, has failed."""
    return CLUSTER
