"""Writes the table of the library into docs/scenarios.md, from the scenarios themselves.

``python tests/document_scenarios.py [OUTPUT]``; a test runs it and compares.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from mkrpc.scenarios.catalogue import scenarios
from mkrpc.scenarios.scenario import title

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "scenarios.md"
BEGIN, END = "<!-- library -->\n", "<!-- end of library -->\n"


def main() -> None:
    """Write the page to the file named on the command line, docs/scenarios.md by default."""
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    output.write_text(page(PAGE.read_text()))


def page(text: str) -> str:
    """The page with the table as it should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = [
        "| scenario | what goes wrong | the defect | seed | remedies |",
        "|---|---|---|---|---|",
    ]
    for name, scenario in scenarios().items():
        remedies = "; ".join(_settings(changes) for changes in scenario.remedies)
        defect = _settings(scenario.defect)
        rows.append(f"| `{name}` | {title(scenario)} | {defect} | {scenario.seed} | {remedies} |")
    return before + BEGIN + "\n".join(rows) + "\n" + END + after


def _settings(changes: Mapping[str, str]) -> str:
    return " ".join(f"`{switch}={value}`" for switch, value in changes.items())


if __name__ == "__main__":
    main()
