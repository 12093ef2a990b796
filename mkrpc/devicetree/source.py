"""Device tree source, the text form, with the line of everything.

The grammar of the Devicetree Specification 0.4, section 6, as far as multikernel trees use it:
labels are read and forgotten, and references, includes, deletions and arithmetic are refused, since
dtc resolves those. Beyond it, what kerf and the kernel series write: a first line
``/multikernel-v1/;``, after which a number may be larger than a cell, and a root with a name.
"""

import re
import struct
from collections.abc import Iterator
from typing import NoReturn

from mkrpc.devicetree.finding import Place, error, refuse
from mkrpc.devicetree.node import MAX_DEPTH, MAX_NAME_BYTES, Node, Property, Tree

__all__ = ["parse_source"]

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<directive>/[A-Za-z][A-Za-z0-9-]*/)
    |(?P<string>"(?:[^"\\\n]|\\[^\n])*")
    |(?P<word>[A-Za-z0-9._+*\#?-][A-Za-z0-9,._+*\#?@-]*)
    |(?P<mark>[{}<>;=,:\[\]/])""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20})[uUlL]{0,3}")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_FORMATS = {8: "B", 16: "H", 32: "I", 64: "Q"}
_HEADERS = ("/dts-v1/", "/plugin/", "/multikernel-v1/")
_COMPILE = "compile it with dtc -O dtb, and give the .dtb"
_END = "the end of the file"


def parse_source(text: str, file: str) -> Tree:
    """The tree of a text. Raises DeviceTreeError, with the line."""
    return _Parser(text, file).tree()


class _Parser:
    def __init__(self, text: str, file: str) -> None:
        self._file, self._text = file, text
        self._lines = text.splitlines()
        self._tokens = self._lex()
        self._line = 1
        self._kind, self._token, self._start, self._next_line = next(self._tokens)
        self._end = 0
        self._wide = False

    def _lex(self) -> Iterator[tuple[str, str, int, int]]:
        at, line = 0, 1
        while at < len(self._text):
            found = _TOKEN.match(self._text, at)
            kind = (found and found.lastgroup) or ""
            if found is None or (kind == "mark" and self._text.startswith("/*", at)):
                self._line = line
                self._unexpected(at)
            if kind != "space":
                yield kind, found[0], at, line
            line += found[0].count("\n")
            at = found.end()
        yield "end", _END, at, line

    def _unexpected(self, at: int) -> NoReturn:
        character = self._text[at]
        if self._text.startswith("/*", at):
            self._fail("a comment that does not end", "close it with */")
        if character == '"':
            self._fail("a string that does not end on its line", 'close it with "')
        if character == "&":
            self._fail("a reference", f"{_COMPILE}: it resolves references")
        if character == "(":
            self._fail("arithmetic", f"write the number, or {_COMPILE}")
        self._fail(f"{character!r} does not belong here", "device tree source is ASCII text")

    def _fail(self, what: str, suggestion: str, *, line: int = 0) -> NoReturn:
        line = line or self._line
        now = self._lines[line - 1].strip() if line <= len(self._lines) else ""
        now = now if len(now) <= 60 else now[:57] + "..."
        raise refuse(error(Place(self._file, line), what, suggestion, current=now))

    def _take(self, *expected: str) -> str:
        """The next token, which must be one of these if any are given."""
        kind, token = self._kind, self._token
        self._line = self._next_line
        if expected and token not in expected and kind not in expected:
            wanted = " or ".join("a word" if one == "word" else one for one in expected)
            self._fail(f"{_named(token)} where {wanted} belongs", f"write {wanted} there")
        self._end = self._start + len(token)
        if kind != "end":
            self._kind, self._token, self._start, self._next_line = next(self._tokens)
        return token

    def tree(self) -> Tree:
        directives = set()
        while self._kind == "directive":
            word = self._take()
            if word == "/memreserve/":
                self._take("word")
                self._take("word")
            elif word not in _HEADERS:
                self._fail(f"{word} is not known", _COMPILE)
            directives.add(word.strip("/"))
            self._take(";")
        if not directives & {"dts-v1", "multikernel-v1"}:
            self._line = self._next_line
            self._fail("no /dts-v1/; at the beginning", "begin the file with /dts-v1/;")
        self._wide = "multikernel-v1" in directives
        self._take("/")
        name = self._take() if self._kind == "word" else ""
        root = Node(name, "/", self._line)
        self._body(root, depth=1)
        if self._kind != "end":
            self._line = self._next_line
            self._fail(f"{_named(self._token)} after the root", "write everything into one / { };")
        return Tree(self._file, root, frozenset(directives))

    def _body(self, node: Node, *, depth: int) -> None:
        self._take("{")
        if depth > MAX_DEPTH:
            self._fail(f"more than {MAX_DEPTH} nodes within each other", "a multikernel tree has 6")
        while self._token != "}":
            if self._kind == "directive":
                self._line = self._next_line
                self._fail(f"{self._token} is not known", _COMPILE)
            name = self._take("word", "}")
            if name in ("#include", "#define"):
                self._fail(f"{name} is for the C preprocessor", _COMPILE)
            while self._token == ":":
                self._take()
                name = self._take("word")
            self._member(node, name, depth)
        self._take("}")
        self._take(";")

    def _member(self, node: Node, name: str, depth: int) -> None:
        line = self._line
        if len(name) > MAX_NAME_BYTES:
            self._fail(f"a name of {len(name)} characters", f"keep it below {MAX_NAME_BYTES}")
        is_node = self._token == "{"
        if name in (node.children if is_node else node.properties):
            kind = "node" if is_node else "property"
            first = (node.children if is_node else node.properties)[name].line
            self._fail(f"{kind} {name} twice, first in line {first}", "leave one of them out")
        if is_node:
            child = node.children[name] = Node(name, node.child_path(name), line)
            self._body(child, depth=depth + 1)
            return
        data, written = b"", ""
        wide: tuple[int, ...] = ()
        if self._take("=", ";", "{") == "=":
            start = self._start
            data, wide = self._value()
            written = self._text[start : self._end]
            self._take(";")
        node.properties[name] = Property(name, data, line, written, wide)

    def _value(self) -> tuple[bytes, tuple[int, ...]]:
        parts, wide, numbers = [], False, []
        while True:
            if self._kind == "string":
                parts.append(self._string(self._take()))
            elif self._token == "[":
                parts.append(self._bytes())
            else:
                data, values = self._cells()
                parts.append(data)
                wide |= any(value >> 32 for value in values)
                numbers.extend(values)
            if self._token != ",":
                break
            self._take()
        if not wide:
            return b"".join(parts), ()
        return b"", tuple(numbers)

    def _string(self, token: str) -> bytes:
        def plain(found: re.Match[str]) -> str:
            what = found[1]
            if what[0] == "x" and len(what) > 1:
                return chr(int(what[1:], 16))
            return chr(int(what, 8) & 0xFF) if what[0] in "01234567" else _ESCAPES.get(what, what)

        text = _ESCAPE.sub(plain, token[1:-1])
        try:
            return text.encode("latin-1") + b"\0"
        except UnicodeEncodeError:
            self._fail("a string that is not ASCII", "write it in ASCII")

    def _bytes(self) -> bytes:
        self._take("[")
        digits = ""
        while self._token != "]":
            digits += self._take("word", "]")
        self._take("]")
        try:
            return bytes.fromhex(digits)
        except ValueError:
            self._fail("bytes that are not pairs of hexadecimal digits", "as in [00 ff]")

    def _cells(self) -> tuple[bytes, list[int]]:
        """Also the numbers if cells have 32 bits, among them those that do not fit in one."""
        bits = 32
        if self._token == "/bits/":
            self._take()
            word = self._take("word")
            bits = int(word) if word in ("8", "16", "32", "64") else 0
            if not bits:
                self._fail(f"/bits/ {word[:20]}", "/bits/ is 8, 16, 32 or 64")
        self._take("<")
        values = []
        while self._token != ">":
            value = self._number(self._take("word", ">"))
            if value >> bits and not (self._wide and bits == 32):
                high, low = value >> 32, value & 0xFFFF_FFFF
                self._fail(
                    f"{value:#x} does not fit in a cell of {bits} bits",
                    f"write two cells: {high:#x} {low:#x}" if bits == 32 else "write less",
                )
            values.append(value)
        self._take(">")
        if bits == 32 and any(value >> 32 for value in values):
            return b"", values
        return struct.pack(f">{len(values)}{_FORMATS[bits]}", *values), values * (bits == 32)

    def _number(self, word: str) -> int:
        found = _NUMBER.fullmatch(word)
        digits = found[1] if found else ""
        octal = digits.startswith("0") and digits.isdigit()
        try:
            value = int(digits, 8 if octal else 0)
        except ValueError:
            value = -1
        if not 0 <= value < 1 << 64:
            self._fail(f"{_named(word)} is not a number of 64 bits", "as in 3 or 0x80")
        return value


def _named(token: str) -> str:
    if token == _END:
        return token
    return repr(token if len(token) <= 30 else token[:27] + "...")
