"""Writes the diagram and the table of docs/lifecycle.md from the table of states.

``python tests/document_lifecycle.py [OUTPUT]``; a test runs it and compares.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from mkrpc.lifecycle import DIED, TABLE, InstanceState, Refusal, Verb

PAGE = Path(__file__).parent.parent / "docs" / "lifecycle.md"
BEGIN, END = "<!-- from the table of states -->", "<!-- end -->"


def main() -> None:
    """Write the page to the file named on the command line, docs/lifecycle.md by default."""
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    output.write_text(page(PAGE.read_text()))


def page(text: str) -> str:
    """The page with what stands between the marks as it should be."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    made = "\n".join((BEGIN, "", *_diagram(), "", *_rows(), "", END))
    return f"{head}{made}{tail}"


def _name(state: InstanceState | None) -> str:
    return "[*]" if state is None else state.value


def _diagram() -> Iterator[str]:
    arrows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for state, verbs in TABLE.items():
        for verb, result in verbs.items():
            if not isinstance(result, Refusal):
                arrows[_name(state), _name(result)].append(verb.value)
    for state, after in DIED.items():
        arrows[state.value, after.value].append(
            "(dies)" if state == "active" else "(stuck in exec)"
        )
    yield "```mermaid"
    yield "stateDiagram-v2"
    for (state, after), words in arrows.items():
        yield f"    {state} --> {after}: {', '.join(words)}"
    yield "```"


def _rows() -> Iterator[str]:
    states = list(TABLE)
    yield "| verb | " + " | ".join("none" if s is None else s.value for s in states) + " |"
    yield "|---" * (len(states) + 1) + "|"
    for verb in Verb:
        yield f"| `{verb.value}` | " + " | ".join(_cell(TABLE[s][verb]) for s in states) + " |"


def _cell(result: InstanceState | Refusal | None) -> str:
    if isinstance(result, Refusal):
        return f"-{result.errno}"
    return "gone" if result is None else f"**{result.value}**"


if __name__ == "__main__":
    main()
