"""Recorded lives, run again: to the same frames, answers and books, or to the step that differs."""

import json
from pathlib import Path

import pytest
import recorded_programs
from click.testing import CliRunner
from compiled_model import skip_if_compiled

from mkrpc.cli import main
from mkrpc.errors import InvalidArgumentError, LimitReachedError, NotFoundError
from mkrpc.fault import Fault, FaultKind
from mkrpc.instance.cpu import Cpu
from mkrpc.interconnect import recording
from mkrpc.interconnect.bucket import Rate
from mkrpc.interconnect.injection import Injections
from mkrpc.interconnect.mirror import MirrorRow
from mkrpc.interconnect.session import MAX_PENDING_COMMANDS
from mkrpc.journal.format import Journal
from mkrpc.link.frames import CommandKind
from mkrpc.outcome import Outcome
from mkrpc.replay.life import Life
from mkrpc.replay.run import replay
from mkrpc.x86.icr import fixed
from mkrpc.x86.pending import CoreState


def lives(folder: Path) -> dict[str, Life]:
    return {life.name: life for life in replay(folder).lives}


def inject(machine, *, seq: int = 1, count: int = 5, told: list | None = None):
    return machine.bus.inject(
        client_id=b"c" * 16,
        first_seq=seq,
        word=fixed(1, 0x40),
        count=count,
        resolved_below=seq,
        on_done=(told if told is not None else []).append,
    )


def test_a_machine_whose_kernels_ring_each_other_replays_to_the_same_books(ringing, tmp_path):
    told = []
    inject(ringing, told=told)
    ringing.cut(ringing.kernels[1])
    ringing.settle()
    assert told
    totals = ringing.bus.totals()
    ringing.close()
    done = replay(tmp_path)
    assert done.identical, [life.verdict for life in done.lives]
    assert [life.name for life in done.lives] == ["interconnect.1", "mk0.1", "mk1.1"]
    bus, first, _ = done.lives
    assert bus.verdict.startswith("identical, books identical (")
    assert bus.bus.totals() == totals
    assert totals.written == 2 * recorded_programs.ROUNDS + 5
    text = [record.text for record in first.kernel.log.since(0)]
    assert text == [record.text for record in ringing.kernels[0].kernel.log.since(0)]
    assert any("the other is at" in line for line in text)


def test_every_kind_of_request_replays(ringing, tmp_path):
    bus, told = ringing.bus, []
    bus.command(1, kind=CommandKind.READ_CPU, cpu=0, on_reply=told.append)
    bus.command(0, kind=CommandKind.READ_PROC, action="interrupts", on_reply=told.append)
    bus.write_icr(apic_id=0, word=fixed(1, 0x41), count=3, on_done=told.append)
    given_up = bus.command(0, kind=CommandKind.FENCE, on_reply=told.append)
    bus.abandon(given_up)
    tally = inject(ringing, count=9000)  # in two instalments
    bus.abandon(tally)
    inject(ringing, count=9000, told=told)
    with pytest.raises(NotFoundError):
        bus.command(5, kind=CommandKind.FENCE, on_reply=told.append)
    with pytest.raises(InvalidArgumentError):
        inject(ringing, seq=1, count=1)
    ringing.settle()
    assert len(told) == 4
    bus.forget_client(b"c" * 16)
    bus.process_ended(1, 101, "killed")
    bus.buckets.change(0, Rate(writes_per_s=10, burst=5))
    bus.write_icr(apic_id=0, word=fixed(1, 0x41), count=30, on_done=told.append)
    ringing.settle()
    assert len(told) == 5
    core = CoreState(cpu=0, irr=0, isr=0, tpr=0, ppr=0, interrupts_enabled=True, activity="idle")
    bus.late.hear(ringing.kernels[0].kernel.incarnation, [core], "file.py:1 in handler")
    drop = bus.set_fault(Fault(kind=FaultKind.DROP, share=0.5, seed=3))
    twice = bus.set_fault(Fault(kind=FaultKind.DUPLICATE, limit=1))
    bus.faults.strike(twice)
    with pytest.raises(NotFoundError):
        bus.clear_fault(twice.number)
    inject(ringing, seq=10_000, count=50, told=told)
    ringing.settle()
    bus.clear_fault(drop.number)
    assert 0 < drop.struck < 50
    session = ringing.kernels[1].session
    bus.disconnect(session, session.generation)
    assert not session.alive
    ringing.boot(1, life=2, handlers=[recorded_programs.take_note])
    ringing.settle()
    bus.detach(ringing.kernels[0].session, "left: asked to")
    ringing.close()
    done = replay(tmp_path)
    assert done.identical, [(life.verdict, life.difference) for life in done.lives]
    assert [life.name for life in done.lives] == ["interconnect.1", "mk0.1", "mk1.1", "mk1.2"]


def test_lives_that_were_killed_replay_as_far_as_they_were_written(ringing, tmp_path):
    ringing.settle()
    ringing.bus._recorder._writer.flush()
    for node in ringing.kernels:
        node.attachment._recorder._writer.flush()
    done = replay(tmp_path)
    assert done.identical
    for life in done.lives:
        assert ", killed" in life.verdict
        assert life.unfinished


def test_a_planted_change_of_a_kernel_is_found_at_its_first_step(ringing, tmp_path, monkeypatch):
    """The third interrupt that a CPU takes has another outcome than it had."""
    ringing.settle()
    ringing.close()
    arrived = []
    plain = Cpu.arrive

    def changed(cpu, icr):
        arrived.append(icr)
        outcome = plain(cpu, icr)
        return Outcome.COALESCED if len(arrived) == 3 else outcome

    skip_if_compiled(Cpu)
    monkeypatch.setattr(Cpu, "arrive", changed)
    found = lives(tmp_path)
    different = [life for life in found.values() if life.difference is not None]
    assert [life.name for life in different] in (["mk0.1"], ["mk1.1"])
    difference = different[0].difference
    assert difference.method == "next_frame"
    assert "COALESCED" in difference.detail
    (line,) = [line for line in different[0].fields if line.startswith("outcomes: ")]
    then, now = line.split(", now ")
    assert "COALESCED" in now
    assert "COALESCED" not in then
    bus = found["interconnect.1"]
    assert bus.verdict.startswith("identical, books identical"), "it is given what it was then"


def test_a_planted_change_of_the_bus_is_found_in_its_books(ringing, tmp_path, monkeypatch):
    ringing.settle()
    ringing.close()
    skip_if_compiled(MirrorRow)
    monkeypatch.setattr(MirrorRow, "apply", lambda row, account: None)
    found = lives(tmp_path)
    assert found["mk0.1"].identical
    bus = found["interconnect.1"]
    assert bus.difference is None
    assert bus.verdict.startswith("its books differ after step ")
    assert any(line.startswith("discrepancy: ") for _, line in bus.books_differ)


def test_a_program_that_reads_its_clock_once_more_is_found(ringing, tmp_path, monkeypatch):
    ringing.settle()
    ringing.close()

    def twice(cpu):
        cpu.printk("rung")
        cpu.printk("rung again")

    monkeypatch.setattr(recorded_programs.take_note, "__code__", twice.__code__)
    found = lives(tmp_path)
    assert "reads its clock" in found["mk0.1"].difference.now


def test_a_closure_is_named_and_its_instance_is_not_replayed(recorded, tmp_path):
    machine = recorded()
    machine.boot(0, handlers=[lambda cpu: None])
    machine.settle()
    machine.close()
    found = lives(tmp_path)
    assert "cannot be found by its name" in found["mk0.1"].problem
    assert "<lambda>" in found["mk0.1"].verdict
    assert found["interconnect.1"].verdict.startswith("identical, books identical")


def test_at_its_limit_the_machine_goes_on_and_the_replay_ends_there(recorded, tmp_path):
    machine = recorded(limit=6000)
    for number in (0, 1):
        machine.boot(number, programs=[(0, recorded_programs.ring_the_other)])
    machine.settle()
    assert machine.bus.totals().written == 2 * recorded_programs.ROUNDS
    machine.close()
    done = replay(tmp_path)
    assert done.identical
    assert {life.journal.stopped for life in done.lives} == {"the limit of 6000 bytes is reached"}
    assert "recorded until the limit" in done.lives[0].verdict


def test_an_input_from_inside_of_a_call_back_ends_the_recording(ringing, tmp_path):
    """It would come in another order when the call-back is not there."""
    inject(ringing)
    ringing.bus.inject(
        client_id=b"d" * 16,
        first_seq=1,
        word=fixed(0, 0x40),
        count=1,
        resolved_below=1,
        on_done=lambda tally: ringing.bus.forget_client(b"d" * 16),
    )
    ringing.settle()
    ringing.close()
    bus = lives(tmp_path)["interconnect.1"]
    assert bus.identical
    assert bus.journal.stopped == "an input was given from inside of a call-back"


def test_the_story_of_all_has_causes_before_effects(ringing, tmp_path):
    ringing.cut(ringing.kernels[0])
    ringing.settle()
    ringing.close()
    given, order = set(), []

    def look(number, life, step, words, gave):
        order.append(number)
        need = life.needs(step) if step.method in ("receive", "welcome", "attach") else None
        assert need is None or need in given
        if (cause := life.gives(step)) is not None:
            given.add(cause)

    done = replay(tmp_path, look=look)
    assert order == list(range(1, done.steps + 1))


def test_the_command_says_identical_and_prints_steps(ringing, tmp_path):
    ringing.settle()
    ringing.close()
    plain = CliRunner().invoke(main, ["replay", str(tmp_path)])
    assert plain.exit_code == 0, plain.output
    assert plain.stdout.splitlines()[-1].endswith(" steps of 3 lives: identical")
    only = CliRunner().invoke(
        main, ["replay", str(tmp_path), "--object", "mk1", "--until", "5", "--steps"]
    )
    assert only.exit_code == 0, only.output
    lines = only.stdout.splitlines()
    assert [line.split()[1] for line in lines[:5]] == ["mk1.1"] * 5
    assert "identical so far" in lines[5]
    found = json.loads(CliRunner().invoke(main, ["replay", str(tmp_path), "--json"]).stdout)
    assert found["identical"] is True
    assert [life["ended_by_itself"] for life in found["lives"]] == [True] * 3


def test_the_command_exits_1_at_a_difference_3_for_what_is_missing(ringing, tmp_path, monkeypatch):
    ringing.settle()
    ringing.close()
    skip_if_compiled(Cpu)
    monkeypatch.setattr(Cpu, "arrive", lambda cpu, icr: Outcome.COALESCED)
    done = CliRunner().invoke(main, ["replay", str(tmp_path)])
    assert done.exit_code == 1
    assert "differs at step" in done.stdout
    assert "then: " in done.stdout
    missing = CliRunner().invoke(main, ["replay", str(tmp_path), "--object", "mk9"])
    assert missing.exit_code == 3
    assert "mk0.1, mk1.1" in missing.output
    assert CliRunner().invoke(main, ["replay", str(tmp_path / "no")]).exit_code == 3
    (tmp_path / "empty").mkdir()
    assert CliRunner().invoke(main, ["replay", str(tmp_path / "empty")]).exit_code == 2


def test_a_limit_error_replays_as_one(ringing, tmp_path):
    bus = ringing.bus
    for _ in range(MAX_PENDING_COMMANDS):
        bus.command(0, kind=CommandKind.FENCE, on_reply=lambda reply: None)
    with pytest.raises(LimitReachedError):
        bus.command(0, kind=CommandKind.FENCE, on_reply=lambda reply: None)
    ringing.settle()
    ringing.close()
    assert lives(tmp_path)["interconnect.1"].identical


def test_books_of_a_bus_that_was_killed_are_compared_at_its_last_digest(
    recorded, tmp_path, monkeypatch
):
    monkeypatch.setattr(recording, "BOOKS_EVERY", 50)
    machine = recorded()
    for number in (0, 1):
        machine.boot(number, programs=[(0, recorded_programs.ring_the_other)])
    machine.settle()
    machine.bus._recorder._writer.flush()
    (path,) = tmp_path.glob("interconnect-*")
    assert sum(step.books is not None for step in Journal(path).steps()) > 3
    assert lives(tmp_path)["interconnect.1"].identical
    skip_if_compiled(MirrorRow)
    monkeypatch.setattr(MirrorRow, "apply", lambda row, account: None)
    bus = lives(tmp_path)["interconnect.1"]
    assert bus.journal.end is None
    assert bus.verdict.startswith("its books differ after step ")


def test_a_recording_of_which_no_journal_can_be_read_says_so(tmp_path):
    (tmp_path / "instance-0.journal").write_text("something else")
    shown = CliRunner().invoke(main, ["replay", str(tmp_path)])
    assert (shown.exit_code, shown.stdout[:10]) == (1, "not read: ")


def test_a_journal_that_is_damaged_is_replayed_up_to_there(ringing, tmp_path):
    ringing.settle()
    ringing.close()
    (path,) = tmp_path.glob("interconnect-*")
    content = bytearray(path.read_bytes())
    frames = [step for step in Journal(path).steps() if step.method == "receive"]
    content[frames[len(frames) // 2].offset + 20] ^= 1
    path.write_bytes(content)
    done = replay(tmp_path)
    bus = done.lives[0]
    assert "damaged at byte" in bus.problem
    assert bus.steps > 10
    assert done.lives[1].identical
    assert not done.identical


def test_a_bug_that_ends_a_process_replays(ringing, tmp_path, monkeypatch):
    """What led to it is on the disk at once: the process may end without another word."""

    def broken(injections, client_id):
        raise AssertionError("no such client")

    skip_if_compiled(Injections)
    with monkeypatch.context() as patch:
        patch.setattr(Injections, "forget_client", broken)
        with pytest.raises(AssertionError, match="no such client"):
            ringing.bus.forget_client(b"c" * 16)
        bus = lives(tmp_path)["interconnect.1"]
        assert bus.identical, bus.difference
        assert not bus.unfinished
    difference = lives(tmp_path)["interconnect.1"].difference
    assert (difference.method, difference.now) == ("forget_client", "nothing")
    assert difference.then == "raised AssertionError: no such client"
