"""Columns of numbers of a fixed size: in memory an array, on the wire bytes.

The wire publishes them as ``repeated fixed64`` and ``repeated fixed32``, which are the same bytes
as one ``bytes`` field of that number. A twin of a message, in which they are such fields, moves a
column as a whole, without a Python object for each of its numbers.
"""

import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from mkrpc.errors import ProtocolError

__all__ = ["column_from_wire", "column_to_wire", "twins_of"]

_ON_THE_WIRE = {FieldDescriptorProto.TYPE_FIXED64, FieldDescriptorProto.TYPE_FIXED32}


def twins_of(file: Any, columns: Mapping[str, Sequence[str]]) -> list[Any]:
    """Message classes of a file's descriptor, with these fields, by message, as ``bytes``.

    They read and write the bytes of the originals, and are of a pool of their own: an object of one
    cannot be part of an object of the other.
    """
    pool = DescriptorPool()
    for needed in file.dependencies:
        pool.AddSerializedFile(needed.serialized_pb)
    changed = FileDescriptorProto.FromString(file.serialized_pb)
    for message in changed.message_type:
        for field in message.field:
            if field.name in columns.get(message.name, ()):
                assert field.type in _ON_THE_WIRE, field.name
                field.type = FieldDescriptorProto.TYPE_BYTES
                field.label = FieldDescriptorProto.LABEL_OPTIONAL
    pool.AddSerializedFile(changed.SerializeToString())
    return [
        GetMessageClass(pool.FindMessageTypeByName(f"{changed.package}.{name}")) for name in columns
    ]


def column_to_wire(column: "array[int]") -> bytes:
    """The bytes of a column: little-endian, as in protobuf."""
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column.tobytes()


def column_from_wire(kind: str, content: bytes) -> "array[int]":
    """A column of ``Q`` (64 bits) or ``I`` (32); ProtocolError if it ends within a number."""
    column = array(kind)
    if len(content) % column.itemsize:
        raise ProtocolError(f"a column of {len(content)} bytes, {column.itemsize} to a number")
    column.frombytes(content)
    if sys.byteorder == "big":
        column.byteswap()
    return column
