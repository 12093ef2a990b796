"""Device trees for tests: one of each dialect, and what they describe; blobs with any content.

Written from what the documentation of the kernel series and of kerf says of each form.
"""

import struct

from mkrpc.devicetree.blob import write_blob
from mkrpc.devicetree.node import Node, Property

D1 = """\
/dts-v1/;
/ {
    compatible = "multikernel-v1";
    instances {
        web-server {
            id = <1>;
            resources { cpus = <1>; memory-bytes = <0x20000000>; llc-way-mask = <0xffff>; };
        };
        database {
            id = <2>;
            resources { cpus = <2 3>; memory-bytes = <0x40000000>; };
        };
    };
};
"""

D2 = """\
/* The host's pool */
/multikernel-v1/;

/ {
    compatible = "linux,multikernel-host";
    resources {
        cpus = <2 3 4 5 6 7>;
        memory-base = <0x380000000>;
        memory-bytes = <0x0 0x1C0000000>;   // 7 GB
        devices {
            eth0: ethernet@0 { pci-id = "0000:01:00.0"; available-vfs = <1 2 3>; };
        };
    };
};
"""

D4_BASELINE = """\
/dts-v1/;
/ {
    compatible = "multikernel-v1";
    resources {
        cpus = <0x0 0x1  0x0 0x2  0x0 0x3  0x0 0x8  0x0 0x9>;
        memory@0 { size = <0x0 0x20000000>; numa-node-id = <0>; };
        devices {
            serial_console { device-type = "platform"; device-name = "serial8250"; };
        };
    };
    aliases { enp9s0 = "/resources/devices/pci_0000_09_00_0"; };
};
"""

D4_POOL = """\
/dts-v1/;
/ {
    compatible = "multikernel-v1";
    #address-cells = <2>;
    #size-cells = <2>;
    id = <0>;
    resources {
        cpus = <0x0 0x1  0x0 0x2  0x0 0x3>;
        cpus-available = <0x0 0x1>;
        memory@59a00000 { device_type = "memory"; reg = <0x0 0x59a00000  0x0 0x20000000>; };
    };
};
"""

D4_INSTANCE = """\
/dts-v1/;
/ {
    compatible = "multikernel-v1";
    model = "web";
    #address-cells = <2>;
    #size-cells = <2>;
    id = <1>;
    resources {
        memory-base = <0x0 0x59a08000>;
        memory-bytes = <0x0 0x8000000>;
        cpus = <0x0 0x2  0x0 0x3>;
    };
    chosen {
        multikernel,pool-cpus = <0x0 0x1>;
        multikernel,ipi-pages = <65>;
        multikernel,host-ipi-cpu = <0x0 0x20>;
    };
};
"""

D4_OVERLAY = """\
/dts-v1/; /plugin/;
/ {
    fragment@1 { target-path = "/instances/compute"; __overlay__ { cpu-add {
        cpu@9 { reg = <0x0 0x9>; numa-node-id = <1>; };
    }; }; };
    fragment@0 { target-path = "/instances"; __overlay__ { instance-create {
        instance-name = "compute"; id = <3>;
        resources { memory-bytes = <0x0 0x10000000>; cpus = <0x0 0x8>; };
    }; }; };
};
"""


def u32(*cells: int) -> bytes:
    return struct.pack(f">{len(cells)}I", *cells)


def u64(*ids: int) -> bytes:
    return struct.pack(f">{len(ids)}Q", *ids)


def text(*strings: str) -> bytes:
    return b"".join(string.encode() + b"\0" for string in strings)


def node(name: str = "", /, *children: Node, **properties: bytes) -> Node:
    """``_`` in the name of a property stands for a hyphen, ``__`` for a comma."""
    made = Node(name, "/")
    for key, data in properties.items():
        spelt = key.replace("__", ",").replace("_", "-")
        made.properties[spelt] = Property(spelt, data)
    made.children = {child.name: child for child in children}
    return made


def dump(name: str = "web", number: int = 1, *cpus: int, root: str = "") -> bytes:
    """What the kernel serves of an instance, which `kerf dump NAME -o FILE` writes down."""
    resources = node("resources", memory_bytes=u64(1 << 27), cpus=u64(*cpus))
    model = {} if root else {"model": text(name)}
    compatible = text("multikernel-v1")
    return write_blob(node(root, resources, compatible=compatible, id=u32(number), **model))


def kerf_overlay(*, cpus: bytes) -> bytes:
    """D3: what kerf writes to create an instance and to change it, without a target-path."""
    resources = node("resources", cpus=cpus, memory_base=u64(1 << 32), memory_bytes=u64(1 << 30))
    create = node("instance-create", resources, instance_name=text("web"), id=u32(5))
    add = node("cpu-add", node("cpu@c", reg=u64(12)), mk__instance=text("web"))
    return write_blob(
        node(
            "",
            node("fragment@0", node("__overlay__", create)),
            node("fragment@1", node("__overlay__", add)),
            compatible=text("linux,multikernel-overlay"),
        )
    )


def kerf_pool(*, cpus: bytes, instances: Node | None = None) -> bytes:
    """D3: a baseline as kerf compiles it."""
    resources = node("resources", cpus=cpus, memory_base=u64(1 << 32), memory_bytes=u64(1 << 34))
    children = [resources] if instances is None else [resources, instances]
    return write_blob(node("", *children, compatible=text("linux,multikernel-host")))
