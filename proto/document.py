"""Writes docs/wire.md from the comments of the .proto files.

``python proto/document.py [OUTPUT]``; a test runs it and compares.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc_tools
from google.protobuf import descriptor_pb2 as d
from grpc_tools import protoc

PROTO = Path(__file__).parent
FILES = ("interconnect", "control", "types")
TYPE_NAMES = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in d.FieldDescriptorProto.Type.items()
}
# Field numbers of descriptor.proto, of which a location's path is made.
MESSAGE, ENUM, SERVICE = 4, 5, 6
FIELD, METHOD, VALUE = 2, 2, 2

HEAD = """# The wire

Generated from the comments in `proto/mkrpc/v1` by `proto/document.py`; a test compares.
The package is `mkrpc.v1`; the version in the handshake is `WIRE_VERSION` in `mkrpc/link/frames.py`.
"""


def main() -> None:
    """Write the page to the file named on the command line, docs/wire.md by default."""
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else PROTO.parent / "docs" / "wire.md"
    files = {file.name: file for file in _compile().file}
    lines = [HEAD]
    for name in FILES:
        lines += _file(files[f"mkrpc/v1/{name}.proto"])
    output.write_text("\n".join(lines).rstrip() + "\n")


def _compile() -> d.FileDescriptorSet:
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "set"
        well_known = Path(grpc_tools.__file__).parent / "_proto"
        arguments = ["protoc", f"-I{PROTO}", f"-I{well_known}", "--include_source_info"]
        arguments += [f"--descriptor_set_out={out}"]
        arguments += [str(path) for path in sorted(PROTO.glob("mkrpc/v1/*.proto"))]
        if protoc.main(arguments) != 0:
            raise SystemExit("protoc failed")
        return d.FileDescriptorSet.FromString(out.read_bytes())


def _file(file: d.FileDescriptorProto) -> Iterator[str]:
    comments = {
        tuple(location.path): " ".join(location.leading_comments.split())
        for location in file.source_code_info.location
    }
    yield f"## {file.name}\n"
    for s, service in enumerate(file.service):
        yield f"### service {service.name}\n"
        yield f"{comments.get((SERVICE, s), '')}\n"
        yield "| call | request | response | what it does |\n|---|---|---|---|"
        for m, method in enumerate(service.method):
            about = comments.get((SERVICE, s, METHOD, m), "")
            request = _stream(method.client_streaming) + _short(method.input_type)
            response = _stream(method.server_streaming) + _short(method.output_type)
            yield f"| `{method.name}` | {request} | {response} | {about} |"
        yield ""
    for m, message in enumerate(file.message_type):
        yield from _message(message, (MESSAGE, m), comments)
    for e, enum in enumerate(file.enum_type):
        yield f"### enum {enum.name}\n"
        yield f"{comments.get((ENUM, e), '')}\n"
        yield "| name | number | meaning |\n|---|---|---|"
        for v, value in enumerate(enum.value):
            about = comments.get((ENUM, e, VALUE, v), "")
            yield f"| `{value.name}` | {value.number} | {about} |"
        yield ""


def _message(
    message: d.DescriptorProto, path: tuple[int, ...], comments: dict[tuple[int, ...], str]
) -> Iterator[str]:
    yield f"### {message.name}\n"
    if comments.get(path):
        yield f"{comments[path]}\n"
    if not message.field:
        yield "No fields.\n"
        return
    yield "| field | number | type | meaning |\n|---|---|---|---|"
    maps = {n.name for n in message.nested_type if n.options.map_entry}
    for f, field in enumerate(message.field):
        about = comments.get((*path, FIELD, f), "")
        yield f"| `{field.name}` | {field.number} | {_type(field, message, maps)} | {about} |"
    yield ""


def _type(field: d.FieldDescriptorProto, message: d.DescriptorProto, maps: set[str]) -> str:
    name = _short(field.type_name) if field.type_name else TYPE_NAMES[field.type]
    if name in maps:
        entry = next(n for n in message.nested_type if n.name == name)
        return f"map of {TYPE_NAMES[entry.field[0].type]} to {TYPE_NAMES[entry.field[1].type]}"
    if field.label == d.FieldDescriptorProto.LABEL_REPEATED:
        return f"list of {name}"
    if field.proto3_optional:
        return f"{name}, may be unset"
    if field.HasField("oneof_index"):
        return f"{name}, one of `{message.oneof_decl[field.oneof_index].name}`"
    return name


def _short(full_name: str) -> str:
    return full_name.rpartition(".")[2]


def _stream(streaming: bool) -> str:
    return "stream of " if streaming else ""


main()
