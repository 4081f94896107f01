"""Order: what is quick and needs nothing runs first, the cluster last."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("contract")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort is stable: within each half the order stays that of files and lines."""
    items.sort(key=lambda item: item.get_closest_marker("cluster") is not None)
