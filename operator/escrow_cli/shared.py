"""What all commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from escrow_cli.api import Api
from escrow_cli.errors import CliError, Exit
from escrow_cli.show import Output

Name = Annotated[str, typer.Argument(help="Name of an EscrowSession.")]
Form = Annotated[Output, typer.Option("--output", "-o", help="text, json or yaml.")]
Within = Annotated[float, typer.Option("--timeout", min=0, help="Seconds.")]


class Session:
    """What all commands share: the API, the namespace, and two consoles."""

    def __init__(self) -> None:
        self.context: str | None = None
        self.namespace: str | None = None
        self.out = Console(soft_wrap=False)
        self.err = Console(stderr=True)
        self._api: Api | None = None

    @property
    def api(self) -> Api:
        """Connected when a command first needs it."""
        if self._api is None:
            self._api = Api.connect(self.context, self.namespace)
        return self._api


shared = Session()


def read_file(file: Path) -> str:
    """The text of a file that the user named. Raises CliError."""
    try:
        return file.read_text()
    except OSError as error:
        raise CliError(f"{file} cannot be read: {error.strerror}", Exit.USAGE) from None
