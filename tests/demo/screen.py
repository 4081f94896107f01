"""What the demo prints: chapters, commands with their output, and one line per thing that happened."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
import threading
import time
from pathlib import Path

from demo import picture
from demo.picture import Kind, Line
from testbed import progress

_LOCK = threading.Lock()
_COLOURS = sys.stdout.isatty() and "NO_COLOR" not in os.environ
_PAINT = re.compile(r"\033\[\d+m")
_BOLD, _DIM, _GREEN, _YELLOW = "1", "2", "32", "33"
_MARGIN = 10
"""Width of the time stamp before a line."""
_PRINTED: list[Line] = []


def elapsed() -> float:
    """Seconds since the program started, as the tooling's own lines count them."""
    return time.monotonic() - progress._START


def chapter(title: str, text: str = "") -> None:
    """Begin a chapter of the story."""
    with _LOCK:
        _out(Kind.PLAIN, "")
        _out(Kind.CHAPTER, _paint(f"── {title} ", _BOLD) + _paint("─" * max(3, _width() - len(title) - 4), _DIM))
        for line in textwrap.wrap(text, _width()):
            _out(Kind.PROSE, line)


def happened(text: str, *, warning: bool = False) -> None:
    """Print one line with the time; a long one goes on below itself."""
    stamp = f"[{elapsed():6.1f}s] "
    first, *rest = textwrap.wrap(text, max(40, _width() - _MARGIN), subsequent_indent="    ", break_on_hyphens=False)
    with _LOCK:
        _out(Kind.HAPPENED, _paint(stamp, _DIM) + (_paint(first, _YELLOW) if warning else first))
        for line in rest:
            _out(Kind.HAPPENED, " " * _MARGIN + (_paint(line, _YELLOW) if warning else line))


def row(text: str) -> None:
    """Print one line of a table, with the time, uncut."""
    with _LOCK:
        _out(Kind.ROW, _paint(f"[{elapsed():6.1f}s] ", _DIM) + text)


def header(text: str) -> None:
    """Print the head of a table."""
    with _LOCK:
        _out(Kind.HEADER, " " * _MARGIN + _paint(text, _BOLD))


def command(line: str, output: str = "") -> None:
    """Show a command as somebody would type it, and what it printed."""
    with _LOCK:
        _out(Kind.PLAIN, "")
        _out(Kind.COMMAND, _paint(f"$ {line}", _GREEN))
        for told in output.rstrip().splitlines():
            _out(Kind.OUTPUT, told)


def plain(text: str = "") -> None:
    """Print text as it is."""
    with _LOCK:
        _out(Kind.PLAIN, text)


def save(path: Path) -> None:
    """Write a picture of what was printed until now."""
    with _LOCK:
        picture.save(_PRINTED, path)


def _out(kind: Kind, line: str) -> None:
    _PRINTED.append(Line(kind, line))
    print(_coloured(line), flush=True)


def _width() -> int:
    return min(shutil.get_terminal_size((110, 24)).columns, 120)


def _paint(text: str, colour: str) -> str:
    return f"\033[{colour}m{text}\033[0m"


def _coloured(line: str) -> str:
    return line if _COLOURS else _PAINT.sub("", line)
