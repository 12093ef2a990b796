"""Flattened device trees, the form that the kernel serves and takes: reading and writing.

Devicetree Specification 0.4, chapter 5: a header of ten 32-bit words, a block of tokens, a block of
names. Versions 16 and 17 are read, 17 is written.
"""

import struct
from collections.abc import Iterator
from typing import NoReturn

from mkrpc.devicetree.finding import Place, error, refuse
from mkrpc.devicetree.node import MAX_DEPTH, MAX_NAME_BYTES, Node, Property, Tree

__all__ = ["MAGIC", "parse_blob", "write_blob"]

MAGIC = b"\xd0\x0d\xfe\xed"

_HEADER = struct.Struct(">10I")
_WORD = struct.Struct(">I")
_PROPERTY = struct.Struct(">2I")
_BEGIN_NODE, _END_NODE, _PROP, _NOP, _END = 1, 2, 3, 4, 9
_VERSION, _COMPATIBLE = 17, 16
_RESERVED_END = bytes(16)
_AGAIN = "dump it again, with kerf dump -o FILE"


def parse_blob(data: bytes, file: str) -> Tree:
    """The tree of a blob. Raises DeviceTreeError, with the byte."""
    return _Reader(data, file).tree()


class _Reader:
    def __init__(self, data: bytes, file: str) -> None:
        self._data, self._file = data, file
        if len(data) < _HEADER.size:
            self._fail(f"a blob of {len(data)} bytes, its header alone has {_HEADER.size}", 0)
        magic, total, structure, names, _, version, compatible, _, names_size, size = (
            _HEADER.unpack_from(data)
        )
        assert magic == int.from_bytes(MAGIC, "big"), "the caller has looked"
        if total > len(data):
            self._fail(f"{len(data)} bytes of the {total} that its header names", 4)
        if version < _COMPATIBLE or compatible > _VERSION:
            self._fail(f"version {version} (compatible with {compatible}), not 16 or 17", 20)
        end = structure + size if version >= _VERSION else total
        if structure % 4 or structure > end or end > total:
            self._fail(f"tokens from byte {structure} to {end} of {total}", 8)
        if names + names_size > total:
            self._fail(f"names from byte {names} to {names + names_size} of {total}", 12)
        self._at, self._stop = structure, end
        self._names, self._names_end = names, names + names_size

    def _fail(self, what: str, at: int) -> NoReturn:
        raise refuse(error(Place(self._file), f"byte {at}: {what}", _AGAIN))

    def _word(self) -> int:
        if self._at + _WORD.size > self._stop:
            self._fail("the tokens end too early", self._at)
        (word,) = _WORD.unpack_from(self._data, self._at)
        self._at += _WORD.size
        return int(word)

    def _token(self) -> int:
        while (token := self._word()) == _NOP:
            pass
        return token

    def _text(self, start: int, end: int) -> str:
        """Up to the zero byte, which must come before the end."""
        limit = min(start + MAX_NAME_BYTES + 1, end)
        zero = self._data.find(b"\0", start, limit) if start < end else -1
        if zero < 0:
            self._fail(f"a name without an end within {MAX_NAME_BYTES} bytes", start)
        name = self._data[start:zero]
        if not name.isascii() or not (text := name.decode("ascii")).isprintable() or "/" in text:
            self._fail(f"{name[:20]!r} is not a name", start)
        return text

    def _aligned(self, end: int) -> None:
        self._at = (end + 3) & ~3

    def _begin(self, parent: Node | None) -> Node:
        name = self._text(self._at, self._stop)
        self._aligned(self._at + len(name) + 1)
        return Node(name, "/" if parent is None else parent.child_path(name))

    def tree(self) -> Tree:
        if self._token() != _BEGIN_NODE:
            self._fail("no root", self._at - 4)
        root = self._begin(None)
        stack = [root]
        while stack:
            start = self._at
            token = self._token()
            if token == _END_NODE:
                stack.pop()
            elif token == _BEGIN_NODE:
                child = self._begin(stack[-1])
                if len(stack) >= MAX_DEPTH:
                    self._fail(f"more than {MAX_DEPTH} nodes within each other", start)
                if child.name in stack[-1].children:
                    self._fail(f"node {child.path} twice", start)
                stack[-1].children[child.name] = child
                stack.append(child)
            elif token == _PROP:
                self._property(stack[-1])
            else:
                self._fail(f"token {token:#x} is not known", start)
        if self._token() != _END:
            self._fail("something after the root", self._at - 4)
        return Tree(self._file, root)

    def _property(self, node: Node) -> None:
        start = self._at
        if start + _PROPERTY.size > self._stop:
            self._fail("the tokens end too early", start)
        length, name_at = _PROPERTY.unpack_from(self._data, start)
        value = start + _PROPERTY.size
        if value + length > self._stop:
            self._fail(f"a property of {length} bytes", start)
        name = self._text(self._names + name_at, self._names_end)
        if name in node.properties:
            self._fail(f"property {name} of {node.path} twice", start)
        node.properties[name] = Property(name, self._data[value : value + length])
        self._aligned(value + length)


def write_blob(root: Node) -> bytes:
    """The blob of a tree, version 17, without memory reservations."""
    names: dict[str, int] = {}
    structure = b"".join((*_flat(root, names), _WORD.pack(_END)))
    strings = b"".join(name.encode("ascii") + b"\0" for name in names)
    first = _HEADER.size + len(_RESERVED_END)
    total = first + len(structure) + len(strings)
    header = _HEADER.pack(
        int.from_bytes(MAGIC, "big"),
        total,
        first,
        first + len(structure),
        _HEADER.size,
        _VERSION,
        _COMPATIBLE,
        0,
        len(strings),
        len(structure),
    )
    return header + _RESERVED_END + structure + strings


def _flat(node: Node, names: dict[str, int]) -> Iterator[bytes]:
    yield _WORD.pack(_BEGIN_NODE) + _padded(node.name.encode("ascii") + b"\0")
    for found in node.properties.values():
        at = names.setdefault(found.name, sum(len(name) + 1 for name in names))
        yield _WORD.pack(_PROP) + _PROPERTY.pack(len(found.data), at) + _padded(found.data)
    for child in node.children.values():
        yield from _flat(child, names)
    yield _WORD.pack(_END_NODE)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
