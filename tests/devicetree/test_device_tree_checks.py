"""What the validator says of a tree that can be read: where, what is there now, what to write."""

import pytest
from device_trees import D1, D2, D4_BASELINE, D4_INSTANCE, D4_OVERLAY, D4_POOL, dump, kerf_pool, u64

from mkrpc.devicetree.finding import DeviceTreeError, Finding, Severity
from mkrpc.devicetree.loading import describe, machine_of
from mkrpc.limits import MAX_CPUS
from mkrpc.topology_report import MAX_PROBLEMS_NAMED

D1_GOOD = D1.replace("<2 3>", "<0x0 0x2 0x0 0x3>")


def findings(*files: str | bytes) -> list[Finding]:
    given = [
        (name, f.encode() if isinstance(f, str) else f)
        for name, f in zip("abc", files, strict=False)
    ]
    return describe(given).findings


def one_fragment(operation: str, target: str = 'target-path = "/instances/compute";') -> str:
    more = f" fragment@2 {{ {target} __overlay__ {{ {operation} }}; }};"
    return D4_OVERLAY.removesuffix("};\n") + more + "\n};\n"


def changed(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


ERRORS = {
    "an id twice": (
        [changed(D1_GOOD, ("id = <2>", "id = <1>"))],
        "a: line 9: /instances/database: id 1 belongs to web-server and to database",
        "give database its own: id = <2>;",
    ),
    "the host's id": (
        [changed(D1_GOOD, ("id = <2>", "id = <0>"))],
        "a: line 10: /instances/database: id: 0 is the host's (now: id = <0>)",
        "id = <1>; to <511>, each once",
    ),
    "an id beyond": (
        [changed(D1_GOOD, ("id = <2>", "id = <512>"))],
        "a: line 10: /instances/database: id: not an instance's id (now: id = <512>)",
        "id = <1>; to <511>, each once",
    ),
    "a CPU of two instances": (
        [changed(D1_GOOD, ("cpus = <1>", "cpus = <3>"))],
        "a: line 11: /instances/database/resources: cpus: CPU 3 in web-server (id 1) and in "
        "database (id 2) (now: cpus = <0x0 0x2 0x0 0x3>)",
        "a CPU belongs to one instance: cpus = <0x0 0x2>;",
    ),
    "a CPU twice": (
        [changed(D1_GOOD, ("cpus = <1>", "cpus = <1 1 1>"))],
        "a: line 7: /instances/web-server/resources: cpus: CPU 1 more than once in web-server "
        "(id 1) (now: cpus = <1 1 1>)",
        "cpus = <0x0 0x1>;",
    ),
    "no CPU": (
        [changed(D1_GOOD, ("cpus = <1>;", ""))],
        "a: line 7: /instances/web-server/resources: web-server (id 1) has no CPU",
        "cpus = <0x0 0x2>;",
    ),
    "no resources": (
        [changed(D1_GOOD, ("resources { cpus = <1>;", "resource { cpus = <1>;"))],
        "a: line 5: /instances/web-server: instance web-server has no resources",
        "add resources { cpus = <0x0 0x2>; };",
    ),
    "no resources at all": (
        ['/dts-v1/;\n/ { compatible = "multikernel-v1"; };'],
        "a: line 2: /: no resources",
        "add a node resources with cpus",
    ),
    "the broadcast": (
        [dump("web", 1, 0xFFFF_FFFF)],
        "a: /resources: cpus: 0xffffffff is no APIC id: the highest is 0xfffffffe "
        "(now: cpus = <0x0 0xffffffff>)",
        "an id has two cells, the first 0 on x86: cpus = <0x0 0x2 0x0 0x3>;",
    ),
    "too many CPUs": (
        [dump("web", 1, *range(1, MAX_CPUS + 2))],
        "a: /resources: cpus: 513 CPUs in web (id 1)",
        "at most 512",
    ),
    "the CPU at which the host is rung": (
        [changed(D4_INSTANCE, ("host-ipi-cpu = <0x0 0x20>", "host-ipi-cpu = <0x0 0x3>"))],
        "a: line 11: /resources: cpus: CPU 3 in the host and in web (id 1) "
        "(now: cpus = <0x0 0x2 0x0 0x3>)",
        "a CPU belongs to one instance: cpus = <0x0 0x2>;",
    ),
    "no CPU at which the host is rung": (
        [changed(D4_INSTANCE, ("host-ipi-cpu = <0x0 0x20>", "host-ipi-cpu"))],
        "a: line 16: /chosen: multikernel,host-ipi-cpu: not one APIC id "
        "(now: multikernel,host-ipi-cpu)",
        "multikernel,host-ipi-cpu = <0x0 0x0>;",
    ),
    "an instance twice": (
        [dump("web", 1, 2), dump("web", 2, 3)],
        "b: /: instance web twice, first at a: /",
        "give every instance a name of its own",
    ),
    "names that are the same here": (
        [dump("web_1", 1, 2), dump("WEB.1", 2, 3)],
        "b: /: web_1 and WEB.1 are both web-1 here",
        "rename one of them: a-z, 0-9 and hyphens",
    ),
    "a second pool": (
        [D4_POOL, D4_BASELINE],
        "b: line 4: /resources: a second pool",
        "give one baseline; there is one at a: line 8: /resources: cpus",
    ),
    "half pages": (
        [changed(D1_GOOD, ("0x40000000", "0x40000001"))],
        "a: line 11: /instances/database/resources: memory-bytes: memory of database (id 2): "
        "0x40000001 bytes are not whole pages (now: memory-bytes = <0x40000001>)",
        "pages have 4096 bytes: write <0x0 0x40001000>",
    ),
    "no memory": (
        [changed(D4_BASELINE, ("<0x0 0x20000000>", "<0 0>"))],
        "a: line 6: /resources/memory@0: memory of the pool: 0x0 bytes are not whole pages",
        "pages have 4096 bytes: write <0x0 0x1000>",
    ),
    "memory beyond the pool": (
        [D4_POOL, changed(D4_INSTANCE, ("0x59a08000", "0x80000000"))],
        "b: line 10: /resources: memory-bytes: memory of web (id 1) is not in the pool "
        "(now: memory-bytes = <0x0 0x8000000>)",
        "the pool has 0x59a00000 to 0x79a00000",
    ),
    "memory of two instances": (
        [D4_INSTANCE, changed(D4_INSTANCE, ('"web"', '"db"'), ("id = <1>", "id = <2>"))],
        "b: line 10: /resources: memory-bytes: memory of db (id 2) overlaps that of web (id 1), at "
        "a: line 10: /resources: memory-bytes (now: memory-bytes = <0x0 0x8000000>)",
        "give each its own range",
    ),
    "no number": (
        [changed(D1_GOOD, ("<0x40000000>", '"1 GB"'))],
        "a: line 11: /instances/database/resources: memory-bytes: not one number "
        '(now: memory-bytes = "1 GB")',
        "memory-bytes is one cell, or two with the high one first, such as <0x0 0x40000000>",
    ),
    "no range": (
        [changed(D4_POOL, ("reg = <0x0 0x59a00000  0x0 0x20000000>", "reg = <1 2 3>"))],
        "a: line 10: /resources/memory@59a00000: reg: not a range (now: reg = <1 2 3>)",
        "reg = <base-high base-low size-high size-low>;",
    ),
    "an instance that nobody has created": (
        [one_fragment("cpu-add { };", 'target-path = "/instances/web";')],
        "a: line 10: /fragment@2/__overlay__/cpu-add: no instance web",
        "create it first, in this file or one given before it; instances: compute",
    ),
    "a fragment for nobody": (
        [one_fragment("cpu-add { };", "")],
        "a: line 10: /fragment@2/__overlay__/cpu-add: which instance?",
        "create it first, in this file or one given before it; instances: compute",
    ),
    "a fragment without an overlay": (
        [changed(one_fragment(""), ("__overlay__ {  }", "overlay { }"))],
        "a: line 10: /fragment@2: no __overlay__",
        "put the operations into __overlay__ { };",
    ),
    "no operation": (
        [one_fragment("cpu-move { };")],
        "a: line 10: /fragment@2/__overlay__/cpu-move: cpu-move is no operation",
        "operations: instance-create, memory-remove, memory-add, cpu-remove, cpu-add, "
        "device-remove, device-add, instance-remove",
    ),
    "an instance created elsewhere": (
        [changed(D4_OVERLAY, ('target-path = "/instances";', 'target-path = "/resources";'))],
        "a: line 6: /fragment@0: target-path: no place for instances: /resources",
        '"/instances"',
    ),
    "an instance without a name": (
        [one_fragment("instance-create { };", 'target-path = "/instances";')],
        "a: line 10: /fragment@2/__overlay__/instance-create: an instance without a name",
        'add instance-name = "web";',
    ),
    "an instance tree without a name": (
        [changed(D4_INSTANCE, ('    model = "web";\n', ""))],
        "a: line 2: /: an instance without a name",
        'add model = "web" to the root of an instance tree',
    ),
    "a CPU that is not there to remove": (
        [one_fragment("cpu-remove { cpu@7 { reg = <0x0 0x7>; }; };")],
        "a: line 10: /fragment@2/__overlay__/cpu-remove/cpu@7: reg: compute (id 3) has no CPU 7 "
        "(now: reg = <0x0 0x7>)",
        "CPUs of it: 8, 9",
    ),
    "a CPU without a number": (
        [one_fragment("cpu-add { cpu@7 { reg = <1 2 3>; }; };")],
        "a: line 10: /fragment@2/__overlay__/cpu-add/cpu@7: reg: not one APIC id "
        "(now: reg = <1 2 3>)",
        "reg = <0x0 0x9>;",
    ),
    "a host without a name": (
        [changed(D4_OVERLAY, ("/ {\n", '/ { mkrpc,host-name = "My Host";\n'))],
        'a: line 2: /: mkrpc,host-name: not a name (now: mkrpc,host-name = "My Host")',
        'mkrpc,host-name = "host";',
    ),
}


@pytest.mark.parametrize(("files", "says", "advice"), ERRORS.values(), ids=ERRORS)
def test_an_error_says_where_what_is_there_now_and_what_to_write(files, says, advice):
    errors = [found for found in findings(*files) if found.severity is Severity.ERROR]
    assert advice in [one.suggestion for one in errors if str(one).startswith(says)]


WARNINGS = {
    "a name that is no label": ([dump("Web_1", 1, 2)], "'Web_1' is called web-1 here"),
    "a name that is a shorthand": ([dump("all", 1, 2)], "'all' is called mk-all here"),
    "a misspelt property": (
        [changed(D1_GOOD, ("cpus = <1>", "cpus = <1>; memory-byte = <0>"))],
        "memory-byte is not known, did you mean memory-bytes?",
    ),
    "a misspelt node": (
        [changed(D1_GOOD, ("cpus = <1>;", "cpus = <1>; device { };"))],
        "device is not known, did you mean devices?",
    ),
    "a pool that is not there": (
        [one_fragment("cpu-add { };", 'target-path = "/resources";')],
        "the pool is changed, but no file has one; passed over",
    ),
    "instances in kerf's baseline": (
        [
            changed(
                D2,
                (
                    "    resources",
                    "    instances { a { resources { cpus = <3>; }; }; };\n    resources",
                ),
            )
        ],
        "instances in a baseline, which kerf init refuses; read all the same",
    ),
}


@pytest.mark.parametrize(("files", "says"), WARNINGS.values(), ids=WARNINGS)
def test_a_warning_does_not_stop_a_machine(files, says):
    found = findings(*files)
    assert [one.what for one in found] == [says]
    assert found[0].severity is Severity.WARNING


@pytest.mark.parametrize(
    "files",
    [[D1_GOOD], [D4_INSTANCE], [D4_OVERLAY], [D4_POOL, D4_INSTANCE], [D4_POOL], [D4_BASELINE]],
)
def test_of_what_is_right_nothing_is_said(files):
    assert findings(*files) == []


def test_an_overlay_moves_cpus_in_the_kernel_s_order():
    """Removed first, then added, whatever order the file has; fragments by unit address."""
    moves = (
        "cpu-add { cpu@8 { reg = <8>; }; cpu@c { reg = <0x0 0xc>; }; }; "
        "cpu-remove { cpu@8 { reg = <0x0 0x8>; }; };"
    )
    description = describe([("a", one_fragment(moves).encode())])
    assert description.findings == []
    assert description.instances["compute"].cpus.ids == (9, 8, 12)


def test_an_overlay_changes_the_pool_that_is_given_before_it():
    grow = one_fragment("cpu-add { cpu@9 { reg = <9>; }; };", 'target-path = "/resources";')
    pool = kerf_pool(cpus=u64(7, 8))
    assert describe([("p", pool), ("a", grow.encode())]).pool.ids == (7, 8, 9)


def test_an_overlay_removes_an_instance():
    gone = one_fragment('instance-remove { instance-name = "compute"; };', "")
    assert describe([("a", gone.encode())]).instances == {}


def test_every_error_is_found_and_the_first_are_named():
    bad = D1_GOOD.replace("id = <1>", "id = <600>").replace("id = <2>", "id = <700>")
    description = describe([("a", bad.encode()), ("b", b"/dts-v1/; nonsense")] + [("c", b"/")] * 4)
    assert len(description.findings) == 7
    with pytest.raises(DeviceTreeError) as caught:
        machine_of(description)
    assert "a: line 6: /instances/web-server: id: not" in str(caught.value)
    assert str(caught.value).endswith("and 2 more, all named by mkrpc topology")
    assert str(caught.value).count(": line ") == MAX_PROBLEMS_NAMED
    assert caught.value.findings == tuple(description.findings)


def test_a_machine_has_at_most_511_instances_and_its_host():
    nodes = "".join(f"i{n} {{ resources {{ cpus = <{n}>; }}; }}; " for n in range(1, 514))
    text = f'/dts-v1/; / {{ compatible = "multikernel-v1"; instances {{ {nodes} }}; }};'
    (found,) = findings(text)
    assert found.what == "more than 511 instances"
    assert len(describe([("a", text.encode())]).instances) == 511
