"""Each module has its test beside it: who changes one knows where to look, and what nobody tests is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.settings import REPO_ROOT

PACKAGE = REPO_ROOT / "operator" / "escrow_operator"
TESTS = REPO_ROOT / "tests" / "unit"

MODULES = sorted(
    path.relative_to(PACKAGE)
    for layer in ("core", "services")
    for path in (PACKAGE / layer).rglob("*.py")
    if path.name != "__init__.py"
)


def beside(module: Path) -> Path:
    """Where the test of a module is."""
    return TESTS / module.parent / f"test_{module.name}"


def test_there_are_modules() -> None:
    assert {module.parts[0] for module in MODULES} == {"core", "services"}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_each_module_of_core_and_services_has_a_test_beside_it(module: Path) -> None:
    test = beside(module)
    assert test.exists(), f"{module} has no {test.relative_to(REPO_ROOT)}"
    assert "def test_" in test.read_text(), f"{test.relative_to(REPO_ROOT)} tests nothing"
