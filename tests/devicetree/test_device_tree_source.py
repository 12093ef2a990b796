"""Device tree source: the grammar, and the line of whatever is not in it."""

import pytest
from device_trees import D1, D2

from mkrpc.devicetree.finding import DeviceTreeError
from mkrpc.devicetree.loading import parse
from mkrpc.devicetree.node import MAX_DEPTH, MAX_DEVICE_TREE_BYTES, MAX_NAME_BYTES, Node


def read(text: str) -> Node:
    return parse("f.dts", text.encode()).root


def value(written: str, header: str = "/dts-v1/;") -> bytes:
    return read(f"{header} / {{ p = {written}; }};").properties["p"].data


VALUES = {
    '"web"': b"web\0",
    '"a", "b"': b"a\0b\0",
    r'"\"\\\x41\101\n"': b'"\\AA\n\0',
    '""': b"\0",
    "<1 0x10 010 2u>": bytes.fromhex("00000001 00000010 00000008 00000002"),
    "<1>, <2>": bytes.fromhex("00000001 00000002"),
    "<>": b"",
    "/bits/ 8 <1 255>": b"\1\xff",
    "/bits/ 16 <1>": b"\0\1",
    "/bits/ 64 <0x100000000>": bytes.fromhex("0000000100000000"),
    "[00 ff 1234]": b"\0\xff\x12\x34",
    "[]": b"",
    '<1>, "x", [02]': b"\0\0\0\1x\0\2",
    "/* one */ <1> // two\n": b"\0\0\0\1",
}


@pytest.mark.parametrize(("written", "data"), VALUES.items(), ids=VALUES)
def test_a_value_has_the_bytes_that_dtc_gives_it(written, data):
    assert value(written) == data


def test_everything_has_its_line_and_is_shown_as_written():
    root = read(D1)
    database = root.children["instances"].children["database"]
    found = database.children["resources"].properties["cpus"]
    assert (root.line, database.line, found.line) == (2, 9, 11)
    assert found.shown() == "cpus = <2 3>"
    assert database.children["resources"].path == "/instances/database/resources"


def test_labels_directives_and_empty_properties_are_read():
    text = "/dts-v1/;\n/plugin/;\n/memreserve/ 0x1000 0x2000;\n/ { a: b: c@1,0 { ranges; }; };"
    tree = parse("f.dts", text.encode())
    assert tree.directives == {"dts-v1", "plugin", "memreserve"}
    assert tree.root.children["c@1,0"].properties["ranges"].data == b""


def test_kerf_s_text_may_have_numbers_beyond_a_cell():
    found = parse("f.dts", D2.encode()).root.children["resources"].properties
    assert found["memory-base"].number == 0x3_8000_0000
    assert found["memory-bytes"].number == 0x1_C000_0000
    assert found["memory-bytes"].line == 9


BAD = {
    "nothing": ("", 1, "no /dts-v1/; at the beginning", "begin the file with /dts-v1/;"),
    "no header": ("/ { };", 1, "no /dts-v1/; at", "begin the file with"),
    "no root": ("/dts-v1/;\n", 2, "the end of the file where / belongs", "write / there"),
    "no semicolon": ("/dts-v1/;\n/ {\n a = <1>\n b; };", 4, "'b' where ; belongs", "write ;"),
    "no end": ("/dts-v1/; / {\n a = <1>;\n", 3, "the end of the file where a word or }", "write"),
    "too large": (
        "/dts-v1/;\n/ {\n p = <0x0 0x380000000>;\n};",
        3,
        "0x380000000 does not fit in a cell of 32 bits (now: p = <0x0 0x380000000>;)",
        "write two cells: 0x3 0x80000000",
    ),
    "too large for a byte": ("/dts-v1/; / { p = /bits/ 8 <256>; };", 1, "a cell of 8 bits", "less"),
    "no number": ("/dts-v1/; / { p = <x>; };", 1, "'x' is not a number of 64 bits", "as in 3"),
    "an octal 8": ("/dts-v1/; / { p = <08>; };", 1, "'08' is not a number", "as in 3 or 0x80"),
    "65 bits": ("/dts-v1/; / { p = <0x1ffffffffffffffff>; };", 1, "not a number of 64", "as in"),
    "endless digits": (f"/dts-v1/; / {{ p = <{'9' * 9999}>; }};", 1, "99...' is not", "as in"),
    "a property twice": (
        "/dts-v1/; / {\n p = <1>;\n p = <2>; };",
        3,
        "property p twice, first in line 2",
        "leave one of them out",
    ),
    "a node twice": ("/dts-v1/; / {\n n { };\n n { }; };", 3, "node n twice, first in", "leave"),
    "a second root": ("/dts-v1/; / { };\n/ { };", 2, "'/' after the root", "into one / { };"),
    "a reference": ("/dts-v1/; / {\n p = <&n>; };", 2, "a reference", "dtc -O dtb, and give"),
    "arithmetic": ("/dts-v1/; / { p = <(1+1)>; };", 1, "arithmetic", "write the number, or"),
    "an include": ('/dts-v1/;\n/include/ "x"\n/ { };', 2, "/include/ is not known", "dtc -O dtb"),
    "a macro": ("/dts-v1/; / {\n#include <x>\n};", 2, "#include is for the C preproc", "dtc"),
    "a deletion": ("/dts-v1/; / {\n/delete-node/ x; };", 2, "/delete-node/ is not", "dtc"),
    "an open comment": ("/dts-v1/;\n/* x", 2, "a comment that does not end", "close it with */"),
    "an open string": ('/dts-v1/; / {\n p = "x\n"; };', 2, "a string that does not end", "close"),
    "bad bytes": ("/dts-v1/; / { p = [0]; };", 1, "not pairs of hexadecimal digits", "[00 ff]"),
    "bad bits": ("/dts-v1/; / { p = /bits/ 7 <1>; };", 1, "/bits/ 7", "8, 16, 32 or 64"),
    "not ASCII": ("/dts-v1/; / { ü; };", 1, "'ü' does not belong here", "ASCII"),
    "no ASCII string": ('/dts-v1/; / { p = "€"; };', 1, "a string that is not ASCII", "ASCII"),
    "too deep": (
        "/dts-v1/; / " + "{ n " * (MAX_DEPTH + 1) + "{ };",
        1,
        f"more than {MAX_DEPTH} nodes within each other",
        "has 6",
    ),
    "a long name": (f"/dts-v1/; / {{ {'n' * (MAX_NAME_BYTES + 1)}; }};", 1, "a name of 256", "255"),
}


@pytest.mark.parametrize(("text", "line", "says", "advice"), BAD.values(), ids=BAD)
def test_what_is_not_in_the_grammar_is_told_by_line_with_what_to_write(text, line, says, advice):
    with pytest.raises(DeviceTreeError) as caught:
        read(text)
    assert str(caught.value).startswith(f"f.dts: line {line}: ")
    assert says in str(caught.value)
    assert advice in caught.value.advice
    assert "\n" not in str(caught.value)


def test_the_limits_themselves_are_within():
    inner = "{ n " * (MAX_DEPTH - 1) + "{ }" + "; }" * (MAX_DEPTH - 1)
    read(f"/dts-v1/; / {inner};")
    read(f"/dts-v1/; / {{ {'n' * MAX_NAME_BYTES}; }};")
    text = "/dts-v1/; / { };"
    read(text + " " * (MAX_DEVICE_TREE_BYTES - len(text)))
    with pytest.raises(DeviceTreeError, match="1048577 bytes are more than"):
        read(text + " " * (MAX_DEVICE_TREE_BYTES - len(text) + 1))


def test_what_is_not_text_is_told_by_line():
    with pytest.raises(DeviceTreeError, match="f: line 2: not text"):
        parse("f", b"/dts-v1/;\n\xff")
