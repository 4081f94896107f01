"""The pages of the documentation, and the blocks of commands and manifests in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from testbed.settings import REPO_ROOT

DOCS = REPO_ROOT / "docs"

RUN = ("tutorial.md", "install.md", "operation.md", "backup.md", "alerts.md", "reference/rbac.md")
"""Pages whose commands the test on the cluster runs, in this order."""

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[\w-]*)(?: title=\"(?P<title>[^\"]*)\")?(?P<rest>.*)$"
)


@dataclass(frozen=True)
class Block:
    """A fenced block. One of commands with a title is not run by the test: its title says what it needs."""

    page: Path
    line: int
    language: str
    title: str | None
    text: str
    rest: str = ""

    def __str__(self) -> str:
        return f"{self.page.relative_to(REPO_ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """All fenced blocks of a page."""
    opened: re.Match[str] | None = None
    start, lines = 0, list[str]()
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if opened is None:
            opened = _FENCE.match(line)
            start, lines = number, []
        elif line.strip() == opened["fence"]:
            text = "\n".join(text.removeprefix(opened["indent"]) for text in lines) + "\n"
            yield Block(page, start, opened["language"], opened["title"], text, opened["rest"])
            opened = None
        else:
            lines.append(line)


def all_pages() -> list[Path]:
    """Every page, the README first."""
    return [REPO_ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def runnable() -> list[Block]:
    """The blocks that the test on the cluster runs, in order."""
    return [block for page in RUN for block in blocks(DOCS / page) if block.language == "sh" and block.title is None]
