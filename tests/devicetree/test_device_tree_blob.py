"""Flattened device trees: what is written is read, and what cannot be one is told by byte."""

import struct

import pytest
from device_trees import dump, node, text, u32
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.devicetree.blob import MAGIC, parse_blob, write_blob
from mkrpc.devicetree.finding import DeviceTreeError
from mkrpc.devicetree.node import MAX_DEPTH, Node, Property

NAMES = st.from_regex(r"[A-Za-z0-9,._+#?@-]{1,20}", fullmatch=True)


def trees(depth: int) -> st.SearchStrategy[Node]:
    children = st.lists(trees(depth - 1), max_size=3) if depth else st.just([])

    @st.composite
    def one(draw: st.DrawFn) -> Node:
        made = Node(draw(NAMES), "/")
        for name, data in draw(st.dictionaries(NAMES, st.binary(max_size=40), max_size=4)).items():
            made.properties[name] = Property(name, data)
        made.children = {child.name: child for child in draw(children)}
        return made

    return one()


def plain(node: Node) -> tuple:
    values = {name: found.data for name, found in node.properties.items()}
    return node.name, values, [plain(child) for child in node.children.values()]


@given(trees(3))
def test_what_is_written_is_read(root):
    assert plain(parse_blob(write_blob(root), "f").root) == plain(root)


def test_the_header_is_that_of_version_17():
    """Devicetree Specification 0.4, section 5.2."""
    blob = write_blob(node("", p=u32(1)))
    words = struct.unpack(">10I", blob[:40])
    assert words == (0xD00DFEED, len(blob), 56, 88, 40, 17, 16, 0, 2, 32)
    assert blob[40:56] == bytes(16)
    assert blob[56:] == u32(1, 0, 3, 4, 0, 1, 2, 9) + b"p\0"


def test_nothings_between_the_tokens_are_passed_over():
    structure = u32(4, 1, 0, 4, 3, 4, 0, 1, 4, 2, 4, 9)
    assert plain(parse_blob(blob(structure, b"p\0"), "f").root) == ("", {"p": u32(1)}, [])


def test_version_16_has_no_size_of_its_tokens():
    made = bytearray(write_blob(node("", p=u32(1))))
    made[20:24] = u32(16)
    made[36:40] = u32(0)
    assert plain(parse_blob(bytes(made), "f").root) == ("", {"p": u32(1)}, [])


def blob(structure: bytes, names: bytes = b"", **header: int) -> bytes:
    sizes = {
        "total": 56 + len(structure) + len(names),
        "tokens": 56,
        "names": 56 + len(structure),
        "reserved": 40,
        "version": 17,
        "compatible": 16,
        "cpu": 0,
        "names_size": len(names),
        "tokens_size": len(structure),
    } | header
    return MAGIC + u32(*sizes.values()) + bytes(16) + structure + names


EMPTY = u32(1, 0, 2, 9)
DEEP = u32(1, 0) * (MAX_DEPTH + 1)
BAD = {
    "a magic alone": (MAGIC, "byte 0: a blob of 4 bytes, its header alone has 40"),
    "cut short": (dump("web", 1, 2)[:-1], "byte 4: "),
    "of the future": (blob(EMPTY, compatible=18), "byte 20: version 17 (compatible with 18)"),
    "of the past": (blob(EMPTY, version=3, compatible=1), "byte 20: version 3"),
    "tokens beyond the end": (blob(EMPTY, tokens_size=999), "byte 8: tokens from byte 56 to 1055"),
    "tokens at an odd byte": (blob(EMPTY, tokens=57), "byte 8: tokens from byte 57"),
    "names beyond the end": (blob(EMPTY, names_size=999), "byte 12: names from byte 72 to 1071"),
    "no token": (blob(b""), "byte 56: the tokens end too early"),
    "no root": (blob(u32(9)), "byte 56: no root"),
    "no end of the root": (blob(u32(1, 0)), "byte 64: the tokens end too early"),
    "no end": (blob(u32(1, 0, 2)), "byte 68: the tokens end too early"),
    "a second root": (blob(u32(1, 0, 2, 1, 0, 2, 9)), "byte 68: something after the root"),
    "an end too early": (blob(u32(1, 0, 9)), "byte 64: token 0x9 is not known"),
    "an unknown token": (blob(u32(1, 0, 7, 2, 9)), "byte 64: token 0x7 is not known"),
    "too deep": (blob(DEEP), f"more than {MAX_DEPTH} nodes within each other"),
    "a name without an end": (blob(u32(1) + b"aaaa"), "byte 60: a name without an end"),
    "a name with a slash": (blob(u32(1) + b"a/b\0"), "byte 60: b'a/b' is not a name"),
    "a name that is no text": (blob(u32(1) + b"a\xff\1\0"), "is not a name"),
    "a node twice": (blob(u32(1, 0, 1) + b"n\0\0\0" + u32(2, 1) + b"n\0\0\0"), "node /n twice"),
    "a huge property": (blob(u32(1, 0, 3, 2**32 - 1, 0), b"p\0"), "a property of 4294967295 bytes"),
    "half a property": (blob(u32(1, 0, 3, 4), b"p\0"), "byte 68: the tokens end too early"),
    "a name that is not there": (blob(u32(1, 0, 3, 0, 5), b"p\0"), "a name without an end"),
    "a property twice": (blob(u32(1, 0, 3, 0, 0, 3, 0, 0), b"p\0"), "property p of / twice"),
}


@pytest.mark.parametrize(("data", "says"), BAD.values(), ids=BAD)
def test_what_cannot_be_one_is_told_by_byte(data, says):
    with pytest.raises(DeviceTreeError) as caught:
        parse_blob(data, "f.dtb")
    assert str(caught.value).startswith("f.dtb: byte ")
    assert says in str(caught.value)
    assert caught.value.advice == "dump it again, with kerf dump -o FILE"


def test_strings_are_told_from_cells():
    assert Property("p", text("a", "b")).strings == ("a", "b")
    assert Property("p", text("a", "b")).string is None
    assert Property("p", u32(2)).strings is None
    assert Property("p", b"\1\0").strings is None
    assert [Property("p", u32(*cells)).number for cells in ((), (5,), (1, 2), (1, 2, 3))] == [
        None,
        5,
        (1 << 32) + 2,
        None,
    ]
