"""What a person types: arguments, exit codes, two lines for every error."""

import subprocess
import sys
from dataclasses import fields

import click
import pytest

from mkrpc.cli import main
from mkrpc.x86.apic_policy import ApicPolicy

USAGE_ERRORS = [
    (["ipi"], "--to"),
    (["ipi", "--to", "2", "--vector", "256"], "out of range: 0x0 to 0xff"),
    (["ipi", "--to", "2", "--vector", "0x100"], "out of range"),
    (["ipi", "--to", "2", "--vector", "5"], "not between 0x10 and 0xff"),
    (["ipi", "--to", "2", "--vector", "ea"], "not a number"),
    (["ipi", "--to", "2", "--count", "0"], "out of range: 1 to 1000000"),
    (["ipi", "--to", "2", "--count", "100000001"], "out of range"),
    (["ipi", "--to", "2", "--mode", "extint"], "extint"),
    (["ipi", "--to", "2", "--mode", "sipi"], "needs a vector"),
    (["ipi", "--to", "2", "--mode", "nmi", "--vector", "2"], "has no vector"),
    (["ipi", "--to", "-1"], "does not fit 32 bits"),
    (["ipi", "--to", "4294967296"], "does not fit 32 bits"),
    (["ipi", "--to", "0xzz"], "not a number"),
    (["ipi", "--to", "instance:512"], "does not fit 9 bits"),
    (["ipi", "--to", "instance:"], "id or a name"),
    (["ipi", "--to", "icr:0x10000000000000000"], "does not fit 64 bits"),
    (["ipi", "--to", "icr:"], "not a number"),
    (["ipi", "--to", "cpu:3"], "not a destination"),
    (["ipi", "--to", ""], "not a destination"),
    (["ipi", "--to", "icr:0xea", "--vector", "0xea"], "its own vector"),
    (["ipi", "--to", "self"], "no APIC of its own"),
    (["ipi", "--to", "others"], "no APIC of its own"),
    (["ipi", "--to", "2", "--from", "0xffffffff"], "out of range"),
    (["cpu", "x"], "not a number"),
    (["cpu", "0", "--tpr", "256"], "out of range: 0x0 to 0xff"),
    (["cpu", "0", "--if", "maybe"], "maybe"),
    (["up", "--instances", "0"], "out of range: 1 to 512"),
    (["up", "--cpus", "513"], "out of range: 1 to 512"),
    (["up", "--instances", "2", "--topology", "x.toml"], "beside --topology"),
    (["up", "--topology", "x.toml", "--policy", "filtered"], "beside --topology"),
    (["up", "--instances", "256", "--cpus", "1", "--mode", "xapic"], "above 254"),
    (["up", "--topology", "absent.toml"], "cannot be read"),
    (["up", "--apic", "icr_bit21=gp"], "no switch 'icr_bit21', did you mean icr_bit12?"),
    (["up", "--apic", "colour=red"], "There are: lowest_priority, "),
    (["up", "--apic", "icr_bit12"], "write icr_bit12=VALUE, cleared or gp"),
    (["up", "--apic", "icr_bit12="], "icr_bit12 is cleared or gp, not ''"),
    (["up", "--apic", "x2apic_supported=no"], "x2apic_supported is true or false, not 'no'"),
    (["up", "--apic", "x2apic_supported=false"], "whose mode is x2apic"),
    (["up", "--address", "unix:/typo/x.sock"], "the directory /typo does not exist"),
    (["up", "--json"], "--detach"),
    (["interrupts", "--mirror", "--stat"], "exclude"),
    (["down", "--all", "--address", "unix:/x"], "exclude"),
    (["show", "--address", "nonsense"], "not an address"),
    (["conform"], "PATHS"),
    (["fault", "delay", "--delay-ms", "nan"], "nan is not a number"),
    (["fault", "drop", "--for", "nan"], "nan is not a number"),
    (["message", "0", "1", "hello", "--wait", "nan"], "nan is not a number"),
    (["create", "a\udcff"], "argument 2, 'a\\udcff', is not UTF-8"),
    (["load", "1", "--program", "99999999999=os:getpid"], "CPU=package.module:name"),
    (["bench", "--pin", "0-²"], "is no placement"),
    (["bench", "--pin", "0-999999999"], "is no placement"),
    (["bench", "--plot", "run.png"], "run.png: what it draws is SVG"),
    (["bench", "--plot", "run"], "--plot run: what it draws is SVG"),
    (["bench", "--save", "/nonexistent/run.json"], "/nonexistent/run.json cannot be written"),
    (["rign"], "rign"),
]


@pytest.mark.parametrize(("args", "says"), USAGE_ERRORS, ids=[" ".join(a) for a, _ in USAGE_ERRORS])
def test_a_command_that_cannot_be_exits_2_with_what_and_what_to_do(run, args, says, told):
    result = run(*args)
    assert result.exit_code == 2, result.output
    assert says in told(result)[0]


@pytest.mark.parametrize(
    "args",
    [
        ["kill", "9" * 5000],
        ["show"],
        ["ipi", "--to", "2"],
        ["cpu", "0"],
        ["interrupts"],
        ["dmesg", "0"],
        ["ledger"],
        ["watch"],
        ["exec", "1"],
        ["kill", "1"],
        ["down"],
    ],
    ids=lambda args: args[0],
)
def test_without_a_cluster_every_command_exits_3_and_names_it(run, args, told):
    result = run(*args, "--name", "nowhere")
    assert result.exit_code == 3, result.output
    assert "nowhere" in told(result)[0]


def test_the_name_may_come_from_the_environment(run, monkeypatch, told):
    monkeypatch.setenv("MKRPC_NAME", "elsewhere")
    assert "elsewhere" in told(run("show"))[0]


def test_nobody_at_an_address_exits_3(run, tmp_path, told):
    result = run("show", "--address", f"unix:{tmp_path}/s")
    assert result.exit_code == 3
    what, advice = told(result)
    assert f"{tmp_path}/s" in what
    assert "mkrpc up" in advice


@pytest.mark.parametrize("command", ["replay", "conform", "sim"])
def test_a_name_that_the_file_system_refuses_is_told_and_no_traceback(run, command, told):
    """Too long, as here, or in a folder of somebody else, which root would not be refused."""
    name = "x" * 300 + ".py"
    result = run(command, name)
    assert result.exit_code == 3, result.output
    assert told(result)[0] == f"mkrpc: {name}: File name too long"


def test_down_all_with_nothing_running_is_no_error(run):
    result = run("down", "--all")
    assert (result.exit_code, result.stdout) == (0, "nothing is running\n")


def test_a_bad_topology_file_is_told_by_line(run, tmp_path, told):
    path = tmp_path / "bad.toml"
    path.write_text("[[instances]]\nid = 0\ncpus = [0]\n[[instances]]\nid = 1\ncpus = [0]\n")
    result = run("up", "--topology", path)
    assert result.exit_code == 2
    assert f"{path}: line 6: instances[1].cpus: APIC id 0" in told(result)[0]


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (["--apic", "x2apic_supported=false"], "add --mode xapic (R1)"),
        (["--instances", "256", "--mode", "xapic"], "use smaller ids, or --mode x2apic"),
    ],
    ids=["no x2APIC", "too many for xAPIC"],
)
def test_without_a_file_the_advice_is_an_option(run, told, options, advice):
    result = run("up", "--cpus", "1", *options)
    assert result.exit_code == 2
    assert told(result)[1] == f"  → {advice}"


def test_handlers_of_an_unpatched_kernel_are_told_before_anything_starts(run, tmp_path, told):
    path = tmp_path / "bad.toml"
    path.write_text("[[instances]]\nid = 0\ncpus = [0]\nmultikernel = false\nhandlers = ['a:b']\n")
    result = run("up", "--topology", path)
    assert result.exit_code == 2
    assert f"{path}: line 5: instances[0].handlers: " in told(result)[0]


def test_a_recording_needs_a_folder_of_its_own(run, tmp_path, told):
    (tmp_path / "kept").touch()
    result = run("up", "--record", tmp_path)
    assert result.exit_code == 2
    assert "it is not empty" in told(result)[0]
    result = run("up", "--record-limit", "5")
    assert result.exit_code == 2
    assert "nothing is recorded" in told(result)[0]


def test_the_help_names_every_switch(run):
    shown = run("up", "--help").stdout
    assert [field.name for field in fields(ApicPolicy) if field.name not in shown] == []


@pytest.mark.parametrize("group", [[], ["fault"]], ids=["mkrpc", "fault"])
def test_a_list_of_commands_says_of_each_in_a_line_what_it_does(run, group, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, _, listed = run(*group, "--help").stdout.partition("\nCommands:\n")
    lines = listed.splitlines()
    assert len(lines) == len((main.commands[group[0]] if group else main).commands)
    assert [line for line in lines if not line.endswith(".") or line.endswith("...")] == []


def test_every_command_explains_itself(run):
    for name in main.commands:
        result = run(name, "--help")
        assert result.exit_code == 0
        assert "Usage: " in result.stdout
    assert run().exit_code == 2


def test_every_option_explains_itself():
    commands = dict(main.commands)
    for name, command in main.commands.items():
        commands |= {
            f"{name} {sub}": found for sub, found in getattr(command, "commands", {}).items()
        }
    options = [(name, each) for name, command in commands.items() for each in command.params]
    assert [
        (name, o.name) for name, o in options if isinstance(o, click.Option) and not o.help
    ] == []


def test_the_command_line_loads_without_grpc():
    """Help, completion and usage errors stay quick, and a fork server may be started first."""
    code = "import sys, mkrpc.cli; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
