"""Topologies: what is one, what is none, and how that is said (design, sections 4 and 7)."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.errors import NotFoundError, TopologyError
from mkrpc.limits import MAX_CPUS
from mkrpc.topology import MAX_INSTANCES, RESERVED_NAMES, Topology

EXAMPLES = Path(__file__).parent.parent / "deploy" / "topologies"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "machine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_n_instances_of_m_cpus_have_ids_and_apic_ids_in_order():
    topology = Topology.of(instances=3, cpus=2)
    assert [(i.id, i.name, i.cpus, i.mode) for i in topology.instances] == [
        (0, "mk0", (0, 1), "x2apic"),
        (1, "mk1", (2, 3), "x2apic"),
        (2, "mk2", (4, 5), "x2apic"),
    ]
    assert topology.policy == "bare-metal"


def test_the_largest_machine_is_possible():
    topology = Topology.of(instances=MAX_INSTANCES, cpus=MAX_CPUS)
    assert topology.apic_ids == tuple(range(MAX_INSTANCES * MAX_CPUS))


@pytest.mark.parametrize(
    ("instances", "cpus", "mode", "says"),
    [
        (0, 1, "x2apic", "instances: 0 is not between 1 and 512"),
        (513, 1, "x2apic", "instances: 513 is not between 1 and 512"),
        (1, 0, "x2apic", "cpus: 0 is not between 1 and 512"),
        (1, 513, "x2apic", "cpus: 513 is not between 1 and 512"),
        (128, 2, "xapic", "APIC id 255 of mk127 is above 254"),
    ],
)
def test_a_machine_beyond_the_limits_is_refused(instances, cpus, mode, says):
    with pytest.raises(TopologyError, match=says):
        Topology.of(instances=instances, cpus=cpus, mode=mode)


def test_counted_cpus_take_the_ids_after_the_highest_listed(tmp_path):
    path = write(
        tmp_path,
        "[[instances]]\nid = 0\ncpu_count = 2\n"
        "[[instances]]\nid = 1\ncpus = [9, 4]\n"
        "[[instances]]\nid = 2\ncpu_count = 1\n",
    )
    assert [i.cpus for i in Topology.load(path).instances] == [(10, 11), (9, 4), (12,)]


def test_an_instance_may_override_the_mode(tmp_path):
    path = write(
        tmp_path,
        'mode = "xapic"\n[[instances]]\nid = 0\ncpus = [0]\n'
        '[[instances]]\nid = 1\nmode = "x2apic"\ncpus = [300]\n',
    )
    assert [i.mode for i in Topology.load(path).instances] == ["xapic", "x2apic"]


BAD_FILES = {
    "two instances share an APIC id": (
        "[[instances]]\nid = 0\ncpus = [0, 1]\n[[instances]]\nid = 1\ncpus = [1, 2]\n",
        ["line 6", "instances[1].cpus", "APIC id 1 in instance 0 (mk0) and in instance 1 (mk1)"],
        "give each its own",
    ),
    "an instance lists an APIC id twice": (
        "[[instances]]\nid = 0\ncpus = [3, 3]\n",
        ["line 3", "APIC id 3 more than once in instance 0 (mk0)"],
        "once",
    ),
    "two instances share an id": (
        "[[instances]]\nid = 1\ncpus = [0]\nname = 'a'\n"
        "[[instances]]\nid = 1\ncpus = [1]\nname = 'b'\n",
        ["line 6", "instances[1].id", "id 1 belongs to a and to b"],
        "0 to 511",
    ),
    "two instances share a name": (
        "[[instances]]\nid = 0\ncpus = [0]\nname = 'web'\n"
        "[[instances]]\nid = 1\ncpus = [1]\nname = 'web'\n",
        ["line 8", "name web belongs to the instances 0 and 1"],
        "a name of its own",
    ),
    "a name given and another's default name are the same": (
        "[[instances]]\nid = 0\ncpus = [0]\nname = 'mk1'\n[[instances]]\nid = 1\ncpus = [1]\n",
        ["name mk1 belongs to the instances 0 and 1"],
        "a name of its own",
    ),
    "an instance id is out of range": (
        "[[instances]]\nid = 512\ncpus = [0]\n",
        ["line 2", "instances[0].id", "512"],
        "0 (the host) to 511",
    ),
    "the xAPIC broadcast is no id": (
        "[[instances]]\nid = 0\nmode = 'xapic'\ncpus = [255]\n",
        ["line 4", "APIC id 255 of mk0 is above 254"],
        'mode = "x2apic"',
    ),
    "the x2APIC broadcast is no id": (
        "[[instances]]\nid = 0\ncpus = [0xffffffff]\n",
        ["line 3", "0xffffffff", "0xfffffffe"],
        "broadcast",
    ),
    "a key is misspelt": (
        "[[instances]]\nid = 0\ncpu_cuont = 2\n",
        ["line 3", "instances[0].cpu_cuont: unknown key, did you mean cpu_count?"],
        "known keys: id, name, cpus",
    ),
    "a key of the machine is misspelt": (
        "polisy = 'filtered'\n[[instances]]\nid = 0\ncpus = [0]\n",
        ["line 1", "polisy: unknown key, did you mean policy?"],
        "known keys",
    ),
    "a policy does not exist": (
        "policy = 'open'\n[[instances]]\nid = 0\ncpus = [0]\n",
        ["line 1: policy", "'bare-metal' or 'filtered'", "not 'open'"],
        "",
    ),
    "an instance has no CPUs": (
        "[[instances]]\nid = 0\n",
        ["mk0 has no CPUs"],
        "cpu_count = N",
    ),
    "CPUs are listed and counted": (
        "[[instances]]\nid = 0\ncpus = [0]\ncpu_count = 1\n",
        ["line 4", "instances[0].cpu_count"],
        "one of the two",
    ),
    "an APIC id is no number": (
        "[[instances]]\nid = 0\ncpus = [0, 'one']\n",
        ["line 3", "instances[0].cpus[1]", "'one'"],
        "list APIC ids",
    ),
    "an APIC id is negative": (
        "[[instances]]\nid = 0\ncpus = [-1]\n",
        ["line 3", "-1"],
        "list APIC ids",
    ),
    "a boolean is no number": (
        "[[instances]]\nid = true\ncpus = [0]\n",
        ["line 2", "integer"],
        "0 (the host)",
    ),
    "a name is no DNS label": (
        "[[instances]]\nid = 0\nname = '3com'\ncpus = [0]\n",
        ["line 3", "beginning with a letter"],
        "web",
    ),
    "a program names no callable": (
        "[[instances]]\nid = 0\ncpus = [0]\n[[instances.programs]]\ncpu = 0\nentry = 'loop'\n",
        ["line 6", "instances[0].programs[0].entry", "package.module:name"],
        "imported",
    ),
    "a program runs on a CPU that is not there": (
        "[[instances]]\nid = 0\ncpus = [7]\n[[instances.programs]]\ncpu = 7\nentry = 'a:b'\n",
        ["line 5", "mk0 has no CPU 7: it has 0 to 0"],
        "not the APIC id",
    ),
    "a CPU has two programs": (
        "[[instances]]\nid = 0\ncpus = [7]\n"
        "programs = [{cpu = 0, entry = 'a:b'}, {cpu = 0, entry = 'a:c'}]\n",
        ["line 4", "CPU 0 of mk0 has two programs"],
        "a CPU runs one program",
    ),
    "there are no instances": ("name = 'empty'\n", ["instances: missing"], "[[instances]]"),
    "instances are no tables": ("instances = 3\n", ["line 1", "should be a list"], "[[instances]]"),
    "the syntax is wrong": ("[[instances]\n", ["not TOML", "line 1"], "TOML syntax"),
    "everything is wrong at once": (
        "mode = 'x3apic'\n[[instances]]\nid = -1\ncolour = 'red'\n",
        ["line 1: mode", "line 3: instances[0].id", "line 4: instances[0].colour"],
        "",
    ),
}


@pytest.mark.parametrize(("text", "says", "advice"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_one_error_that_names_file_line_key_and_way_out(tmp_path, text, says, advice):
    path = write(tmp_path, text)
    with pytest.raises(TopologyError) as caught:
        Topology.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for part in says:
        assert part in message
    assert advice in caught.value.advice
    assert caught.value.advice


@pytest.mark.parametrize("lease_s", [-1, 3601, 1.5])
def test_a_lease_is_whole_seconds_up_to_an_hour(lease_s):
    with pytest.raises(TopologyError, match="lease_s"):
        Topology.of(instances=1, cpus=1, lease_s=lease_s)


@pytest.mark.parametrize("name", RESERVED_NAMES)
def test_no_instance_may_be_called_like_a_shorthand(name):
    with pytest.raises(TopologyError, match="destination shorthand"):
        Topology.from_dict({"instances": [{"id": 0, "name": name, "cpus": [0]}]})


def test_more_than_five_problems_are_counted(tmp_path):
    path = write(tmp_path, "".join(f"[[instances]]\nid = {600 + n}\n" for n in range(9)))
    with pytest.raises(TopologyError, match=r"; and 4 more, named once these are mended$"):
        Topology.load(path)


def test_problems_are_told_by_line_each_with_its_hint(tmp_path):
    path = write(
        tmp_path,
        "colour = 'red'\n[[instances]]\nid = 600\n[[instances]]\nid = 601\n"
        "mode = 'x3apic'\n[apic]\nintr = 'late'\nicr_bit12 = 'set'\npolisy = 1\n",
    )
    with pytest.raises(TopologyError) as caught:
        Topology.load(path)
    parts = str(caught.value).removeprefix(f"{path}: ").split("; ")
    assert [part.split(":")[0] for part in parts[:-1]] == [f"line {n}" for n in (1, 3, 5, 6, 8)]
    assert parts[-1] == "and 2 more, named once these are mended"
    assert caught.value.advice == (
        "line 1: known keys: name, policy, mode, apic, rate, client_rate, links, lease_s, "
        "faults, instances, pool; line 3, line 5: instance ids are 0 (the host) to 511; "
        "line 6, line 8: choose one of them"
    )


def test_without_a_file_a_hint_names_the_key():
    data = {"name": "-", "instances": [{"id": 0, "cpus": 3}]}
    with pytest.raises(TopologyError) as caught:
        Topology.from_dict(data)
    assert caught.value.advice == (
        "name: choose a name such as web or mk-3; "
        "instances[0].cpus: list APIC ids, such as cpus = [0, 1]"
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("id = true", "should be an integer, not true"),
        ("id = 1.5", "should be an integer, not 1.5"),
        ("id = [0]", "should be an integer, not a list"),
        ("name = 2026-01-02", "should be a string, not 2026-01-02"),
        ("name = {a = true}", "should be a string, not a table"),
        ("multikernel = 'no'", "should be true or false, not 'no'"),
        ("cpus = 'all'", "should be a list, not 'all'"),
        ("programs = ['a:b']", "should be a table, not 'a:b'"),
        ("apic = [true]", "should be a table, not a list"),
        ("entry = false", "should be 'idt' or 'fred', not false"),
    ],
)
def test_a_wrong_type_is_told_in_the_words_of_toml(tmp_path, line, says):
    path = write(tmp_path, f"[[instances]]\n{line}\n")
    with pytest.raises(TopologyError) as caught:
        Topology.load(path)
    (told,) = [part for part in str(caught.value).split("; ") if "line 2" in part]
    assert told.endswith(f": {says}")


def test_a_file_that_is_not_there_or_is_not_text_is_a_topology_error(tmp_path):
    with pytest.raises(TopologyError, match="cannot be read"):
        Topology.load(tmp_path / "absent.toml")
    with pytest.raises(TopologyError, match="cannot be read"):
        Topology.load(tmp_path)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(TopologyError, match="not UTF-8"):
        Topology.load(binary)


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "huge.toml"
    with path.open("wb") as file:
        file.truncate((4 << 20) + 1)
    with pytest.raises(TopologyError, match="more than a topology may have"):
        Topology.load(path)


def test_a_missing_instance_is_not_found():
    topology = Topology.of(instances=2, cpus=1)
    assert topology.instance(1).cpus == (1,)
    with pytest.raises(NotFoundError, match="no instance 2"):
        topology.instance(2)


names = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True).filter(
    lambda name: name not in RESERVED_NAMES and not name.startswith("mk")
)
entries = st.from_regex(r"[a-z_]{1,6}(\.[a-z_]{1,6})?:[a-z_]{1,6}", fullmatch=True)


@st.composite
def topologies(draw):
    """Plain forms of valid machines: lists of APIC ids and counts mixed, modes too."""
    ids = draw(st.lists(st.integers(0, 511), min_size=1, max_size=5, unique=True))
    labels = draw(st.lists(names, min_size=len(ids), max_size=len(ids), unique=True))
    apic_ids = draw(st.permutations(range(40)))
    instances = []
    for instance_id, label in zip(ids, labels, strict=True):
        size = draw(st.integers(1, 6))
        spec = {"id": instance_id}
        if draw(st.booleans()):
            spec["cpus"], apic_ids = apic_ids[:size], apic_ids[size:]
        else:
            spec["cpu_count"] = size
        if draw(st.booleans()):
            spec["name"] = label
        if draw(st.booleans()):
            spec["mode"] = draw(st.sampled_from(["xapic", "x2apic"]))
        if draw(st.booleans()):
            spec["programs"] = [{"cpu": size - 1, "entry": draw(entries)}]
        spec["handlers"] = draw(st.lists(entries, max_size=2))
        spec["boundary"] = draw(st.sampled_from(["word", "frame"]))
        instances.append(spec)
    return {"policy": draw(st.sampled_from(["bare-metal", "filtered"])), "instances": instances}


@given(topologies())
def test_a_valid_topology_is_whole_and_survives_json(data):
    topology = Topology.from_dict(data)
    assert Topology.from_dict(json.loads(json.dumps(topology.to_dict()))) == topology
    assert len(set(topology.apic_ids)) == len(topology.apic_ids)
    for spec, instance in zip(data["instances"], topology.instances, strict=True):
        assert instance.name
        assert len(instance.cpus) == spec.get("cpu_count", len(spec.get("cpus", ())))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_examples_are_valid_and_named_after_their_files(path):
    assert Topology.load(path).name == path.stem


def test_there_are_examples():
    assert {path.stem for path in EXAMPLES.glob("*.toml")} >= {
        "pair",
        "ring-4x2",
        "mixed-modes",
        "filtered",
    }
