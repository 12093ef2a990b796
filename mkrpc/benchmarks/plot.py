"""A saved run of ``mkrpc bench`` as a picture, in SVG written by hand.

Colours are those of Okabe and Ito, which people with any kind of colour blindness tell apart; every
bar has its value beside it, so that nothing rests on colour alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from mkrpc.benchmarks.tables import SUBJECTS, number

__all__ = ["svg"]

_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#E69F00", "#009E73", "#999999"
_WIDTH, _LABEL, _ROW, _TEXT = 820, 240, 22, 13

Bar = tuple[str, float, str]
"""Its label, its value, its colour."""


def svg(run: Mapping[str, Any]) -> str:
    """Delays, throughput of single words and of bursts, growth: a panel each."""
    panels = [
        ("Delay to the handler's first line, us (p50)", _bars(run, "delay.p50_us")),
        ("One word a message, words/s", _bars(run, "one.per_s")),
        ("Bursts of 10,000 words, words/s", _bars(run, "burst_10k.per_s")),
        ("Delay with so many instances, us (p50)", _growth(run)),
    ]
    parts: list[str] = []
    y = 16
    for title, bars in panels:
        if bars:
            panel, y = _panel(title, bars, y)
            parts += panel
    host, plan = run["host"], run["plan"]
    foot = (
        f"{host['cores']} CPUs, {host['cpu']}, Python {host['python']}; placement "
        f"{plan['pin_text']}; medians of {plan['rounds']} rounds"
    )
    parts.append(_text(10, y + 8, foot, fill="#555"))
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y + 20}" '
            f'font-family="sans-serif" font-size="{_TEXT}">',
            f"<title>mkrpc bench</title><rect width='{_WIDTH}' height='{y + 20}' fill='#fff'/>",
            *parts,
            "</svg>\n",
        )
    )


def _bars(run: Mapping[str, Any], figure: str) -> list[Bar]:
    """Of all subjects that stand side by side, shortest first."""
    found = []
    for key, value in run["figures"].items():
        subject, _, name = key.partition(".")
        if name == figure and subject in SUBJECTS:
            found.append((SUBJECTS[subject], value["median"], _colour(subject)))
    return sorted(found, key=lambda bar: bar[1])


def _growth(run: Mapping[str, Any]) -> list[Bar]:
    figures = run["figures"]
    return [
        (f"{count} instances", figures[key]["median"], _BLUE)
        for count in run["plan"]["growth"]
        if (key := f"mkrpc_{count}.delay.p50_us") in figures
    ]


def _colour(subject: str) -> str:
    return {"mkrpc": _BLUE, "idiomatic": _ORANGE, "raw_relay": _GREEN, "model": _GREEN}.get(
        subject, _GREY
    )


def _panel(title: str, bars: Sequence[Bar], y: int) -> tuple[list[str], int]:
    """Its elements, and where the next one begins."""
    parts = [_text(10, y + _TEXT, title, weight="bold")]
    y += _ROW + 4
    widest = max(value for _, value, _ in bars) or 1.0
    for label, value, colour in bars:
        length = round(value / widest * (_WIDTH - _LABEL - 90), 1)
        parts += [
            _text(_LABEL - 8, y + _TEXT + 1, label, anchor="end"),
            f'<rect x="{_LABEL}" y="{y + 2}" width="{length}" height="{_ROW - 6}" '
            f'fill="{colour}"/>',
            _text(_LABEL + length + 6, y + _TEXT + 1, number(value)),
        ]
        y += _ROW
    return parts, y + 14


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal",
          fill: str = "#000") -> str:  # fmt: skip
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" fill="{fill}">'
        f"{escape(text)}</text>"
    )
