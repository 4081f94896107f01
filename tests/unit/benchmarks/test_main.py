"""The command line: what runs, what is kept when one fails, and the exit codes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import benchmarks.__main__ as cli
from benchmarks.result import Result
from testbed.errors import ToolingError

from .test_result import result


class Fake:
    """A benchmark that takes no time."""

    def __init__(self, *, error: Exception | None = None, counted: dict[str, float] | None = None) -> None:
        self.error = error
        self.counted = counted or {}
        self.quick: bool | None = None

    async def measure(self, *, quick: bool) -> dict[str, Any]:
        self.quick = quick
        if self.error:
            raise self.error
        return {"seconds": 1.0}

    def as_text(self, figures: Mapping[str, Any]) -> str:
        return f"took {figures['seconds']}"

    def counts(self, _: Mapping[str, Any]) -> dict[str, float]:
        return self.counted


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Fake]:
    """Two benchmarks; their results go to folders of the test, and nobody asks the machine."""
    found = {"one": Fake(), "two": Fake()}

    def wrap(name: str, figures: dict[str, Any], counts: dict[str, float], **_: Any) -> Result:
        return result(name, figures=figures, counts=counts)

    monkeypatch.setattr(cli, "BENCHMARKS", {name: (name, f"about {name}") for name in found})
    monkeypatch.setattr(cli, "import_module", lambda module: found[module.removeprefix("benchmarks.")])
    monkeypatch.setattr(cli, "wrap", wrap)
    monkeypatch.setattr(cli, "RESULTS", tmp_path / "full")
    monkeypatch.setattr(cli, "QUICK_RESULTS", tmp_path / "quick")
    return found


def test_a_quick_run_leaves_the_full_results_alone(fakes: dict[str, Fake], tmp_path: Path) -> None:
    assert cli.main(["one", "--quick"]) == 0
    assert fakes["one"].quick is True
    assert [file.name for file in (tmp_path / "quick").iterdir()] == ["one.json"]
    assert not (tmp_path / "full").exists()


@pytest.mark.parametrize("error", [ToolingError("no cluster"), ValueError("a bug")])
def test_one_that_fails_keeps_the_others_results(fakes: dict[str, Fake], tmp_path: Path, error: Exception) -> None:
    fakes["one"].error = error
    assert cli.main(["all"]) == 1
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["two.json"]


def test_a_count_over_its_budget_is_a_failure_and_the_result_is_kept(
    fakes: dict[str, Fake], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "over_budget", lambda name, counts: [f"{name} {counts}"] if counts else [])
    fakes["two"].counted = {"writes": 3.0}
    assert cli.main(["all", "--quick"]) == 1
    assert "over budget: two {'writes': 3.0}" in capsys.readouterr().err
    assert len(list((tmp_path / "quick").iterdir())) == 2


def test_json_goes_to_stdout(fakes: dict[str, Fake], capsys: pytest.CaptureFixture[str]) -> None:
    assert fakes
    assert cli.main(["one", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"] == {"seconds": 1.0}
