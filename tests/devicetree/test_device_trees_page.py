"""docs/device-trees.md: its table is the code's, its examples are what it says."""

import re
from pathlib import Path

import pytest

from mkrpc.devicetree.dialect import DIALECTS
from mkrpc.devicetree.loading import describe

PAGE = (Path(__file__).parents[2] / "docs" / "device-trees.md").read_text()
EXAMPLES = re.findall(r"^```dts\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_table_of_dialects_is_that_of_the_code():
    expected = [
        f"| {d.name} | {f'`{d.compatible[0]}`' if d.compatible else 'any'} | {d.shape.value} | "
        f"{f'`/{d.header}/;`' if d.header else 'any'} | {d.cells} | {d.source} |"
        for d in DIALECTS
    ]
    assert [line for line in PAGE.splitlines() if re.match(r"\| D\d ", line)] == expected


@pytest.mark.parametrize(
    ("text", "dialect", "instances"),
    [
        (EXAMPLES[0], "D1", ["web-server", "database"]),
        (EXAMPLES[1], "D2", []),
        (EXAMPLES[2], "D4", ["web"]),
    ],
)
def test_an_example_is_of_its_dialect(text, dialect, instances):
    description = describe([("f", text.encode())])
    assert description.dialects == {"f": dialect}
    assert list(description.instances) == instances
    assert description.findings == []
