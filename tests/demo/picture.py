"""A picture of what the demo printed: real lines of this run, the telling ones, as an SVG of a terminal."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple

from rich import _export_format as template
from rich.console import Console
from rich.text import Text

WIDTH = 112

FONTS = re.compile(r"@font-face \{\{.*?\}\}", re.DOTALL)
"""Rich names fonts on another host: the picture is to work without."""


class Kind(Enum):
    """What a printed line is."""

    CHAPTER = auto()
    PROSE = auto()
    HAPPENED = auto()
    ROW = auto()
    HEADER = auto()
    COMMAND = auto()
    OUTPUT = auto()
    PLAIN = auto()


class Line(NamedTuple):
    """A printed line, with its colours as a terminal has them."""

    kind: Kind
    text: str


def telling(lines: Iterable[Line]) -> list[str]:
    """What one has to see of a run: from the first session on, without details, prose and manifests."""
    found: list[str] = []
    asked = False
    begun = False
    for kind, text in lines:
        plain = Text.from_ansi(text).plain
        begun = begun or (kind is Kind.CHAPTER and "EscrowSession" in plain)
        if not begun:
            continue
        match kind:
            case Kind.CHAPTER:
                found += ["", text] if found else [text]
            case Kind.COMMAND:
                asked = "kubectl get escrow" in plain and "pods" not in plain
                if asked or "kubectl apply" in plain or "kubectl patch" in plain:
                    found.append(text)
            case Kind.OUTPUT if asked:
                found.append(text)
            case Kind.ROW | Kind.HEADER:
                found.append(text)
            case Kind.HAPPENED if not re.match(r"\[ *[\d.]+s\]   ", plain) and plain.startswith("["):
                found.append(text)
    return found


def save(lines: Iterable[Line], path: Path) -> None:
    """Write the picture."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="standard")
    for text in telling(lines):
        console.print(Text.from_ansi(text), no_wrap=True, overflow="ellipsis", crop=True)
    code = FONTS.sub("", template.CONSOLE_SVG_FORMAT)
    path.write_text(console.export_svg(title="make demo", code_format=code, unique_id="demo"))
