"""``mkrpc topology``: what a file means, what is wrong with it, the same in another form."""

import json

import pytest
from device_trees import D1, D4_INSTANCE, D4_POOL, dump, kerf_pool, u64

from mkrpc.devicetree.loading import describe, machine_of
from mkrpc.topology import Topology

CPUINFO = "".join(f"processor\t: {number}\napicid\t\t: {128 + number}\n\n" for number in range(4))


@pytest.fixture
def file(tmp_path):
    """``file(name, content)``: its path."""

    def write(name: str, content: str | bytes):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def test_it_prints_the_machine_and_asks_about_what_is_likely_not_meant(run, file):
    path = file("d1.dts", D1)
    result = run("topology", path)
    assert result.exit_code == 0
    assert result.stdout == (
        f"{path}: dialect D1\n"
        "ID  NAME        CPUS  APIC IDS\n"
        " 0  host           1  0\n"
        " 1  web-server     1  1\n"
        " 2  database       2  2-3\n"
        "no file says which CPUs the host has: APIC id 0 is assumed\n"
        "left out: llc-way-mask, memory-bytes\n"
    )
    warning, current, suggestion = result.stderr.splitlines()
    assert warning.startswith(f"warning: {path}: line 11: /instances/database/resources: cpus: a ")
    assert current == "  Current state: cpus = <2 3>"
    assert suggestion == "  Suggestion:    cpus = <0x0 0x2 0x0 0x3>;"


def test_several_device_trees_are_one_machine(run, file):
    result = run("topology", file("pool.dts", D4_POOL), file("web.dtb", dump("web", 1, 2, 3)))
    assert result.exit_code == 0
    assert result.stderr == ""
    assert " 1  web      2  2-3\n" in result.stdout


def test_what_is_no_machine_exits_1_with_everything_that_is_wrong(run, file):
    text = D1.replace("id = <1>", "id = <0>").replace("cpus = <1>", "cpus = <2>")
    result = run("topology", file("bad.dts", text))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert [line.split()[0] for line in result.stderr.splitlines()] == [
        *("error:", "Current", "Suggestion:", "warning:", "Current", "Suggestion:"),
        *("error:", "Current", "Suggestion:"),
    ]


def test_json_has_it_all(run, file):
    path = file("web.dtb", dump("web", 1, 2, 2))
    result = run("topology", path, "--json")
    assert result.exit_code == 1
    said = json.loads(result.stdout)
    assert (said["valid"], said["topology"], said["dialects"]) == (False, None, {str(path): "D4"})
    assert said["findings"] == [
        {
            "severity": "error",
            "file": str(path),
            "line": 0,
            "node": "/resources",
            "property": "cpus",
            "what": "CPU 2 more than once in web (id 1)",
            "current": "cpus = <0x0 0x2 0x0 0x2>",
            "suggestion": "cpus = <0x0 0x2>;",
        }
    ]
    said = json.loads(run("topology", file("web.dts", D4_INSTANCE), "--json").stdout)
    assert (said["valid"], said["host_assumed"]) == (True, False)
    assert Topology.from_dict(said["topology"]).apic_ids == (32, 2, 3)


def test_logical_cpu_numbers_are_told_by_cpuinfo(run, file):
    cpuinfo = file("cpuinfo", CPUINFO)
    result = run("topology", file("a.dtb", dump("web", 1, 2, 3)), "--cpuinfo", cpuinfo)
    assert result.exit_code == 1
    assert "all are logical CPU numbers of it" in result.stderr
    assert "cpus = <0x0 0x82 0x0 0x83>;" in result.stderr
    result = run("topology", file("b.dtb", dump("web", 1, 130, 131)), "--cpuinfo", cpuinfo)
    assert result.exit_code == 0
    assert " 1  web      2  130-131   2-3\n" in result.stdout


@pytest.mark.parametrize("form", ["toml", "dts", "dtb"])
def test_it_converts(run, file, tmp_path, form):
    path = tmp_path / f"out.{form}"
    result = run("topology", file("d1.dts", D1), "--to", form, "--output", path)
    assert (result.exit_code, result.stdout) == (0, "")
    expected = Topology.from_dict(machine_of(describe([("d1", D1.encode())])))
    assert Topology.load(path) == expected
    assert run("topology", file("d1.dts", D1), "--to", form).stdout_bytes == path.read_bytes()


def test_of_toml_it_says_what_a_device_tree_has_no_place_for(run, file):
    path = file(
        "m.toml", 'policy = "filtered"\n[[instances]]\nid = 0\ncpus = [3]\nentry = "fred"\n'
    )
    result = run("topology", path, "--to", "dts")
    assert result.exit_code == 0
    assert result.stderr == (
        "left out, since a device tree has no place for it: instances.entry, policy\n"
    )
    assert "mkrpc,host-cpus = <0x0 0x3>;" in result.stdout


def test_toml_is_checked_too(run, file):
    assert (
        " 0  mk0      1  3\n"
        in run("topology", file("m.toml", "[[instances]]\nid=0\ncpus=[3]")).stdout
    )
    result = run("topology", file("m.toml", "[[instances]]\nid = 0\ncpu = [3]\n"))
    assert result.exit_code == 1
    assert "line 3: instances[0].cpu: unknown key, did you mean cpus?" in result.stderr


def test_the_command_as_typed(run, file):
    toml, tree = file("m.toml", "[[instances]]\nid = 0\ncpus = [3]\n"), file("d1.dts", D1)
    for arguments, says in {
        (toml, tree): "not a device tree, and not the only file",
        (tree, "--output", "x"): "--output without --to",
        (tree, "--to", "dts", "--json"): "--json beside --to",
        (toml, "--cpuinfo", file("cpuinfo", CPUINFO)): "--cpuinfo beside TOML",
        (tree, "--cpuinfo", file("none", "")): "no CPU with an apicid",
        (tree, "--cpuinfo", "absent"): "absent: cannot be read",
        ("absent.dts",): "absent.dts: cannot be read",
        (tree, "--to", "dts", "--output", "absent/x"): "absent/x: cannot be written",
    }.items():
        result = run("topology", *arguments)
        assert result.exit_code == 2
        assert says in result.stderr


def test_up_tells_a_bad_device_tree_in_two_lines(run, file, told):
    pool, web = file("p.dtb", kerf_pool(cpus=u64(128, 129))), file("w.dtb", dump("web", 1, 0, 1))
    what, advice = told(run("up", "--detach", "--topology", pool, "--topology", web))
    assert "CPUs 0, 1 of web (id 1) are not in the pool" in what
    assert "APIC ids" in advice
