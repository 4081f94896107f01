"""The page and its plots come from results, whatever of them there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import page
from benchmarks.plots import draw, duration
from benchmarks.sections import SECTIONS

from .test_result import result

S = {"median": 2.0, "min": 1.0, "max": 3.0}
FAST = {"median": 0.004, "min": 0.003, "max": 0.005}
CLAIMS = {"p50": 0.1, "p90": 0.2, "p99": 0.3, "max": 0.4}
POINT: dict[str, Any] = {
    "sessions": 0,
    "pods": 18,
    "wave_seconds": 0.0,
    "memory_available": 20e9,
    "wallet_rss": 0.0,
    "wallet_pss": 0.0,
    "operator_memory": None,
    "operator_cpu": None,
}
STEP: dict[str, Any] = {
    "title": "5/s",
    "rate": 5,
    "sessions": 200,
    "claim_seconds": CLAIMS,
    "per_second": 5.0,
    "errors": 0,
    "claimed_twice": 0,
    "requests_per_claim": None,
}
SIZE: dict[str, Any] = {
    "sessions": 1000,
    "ready_seconds": 3.0,
    "restart_seconds": None,
    "memory_bytes": None,
    "peak_memory_bytes": None,
    "cpu_cores": None,
    "requests": {"get pods": 1.0},
    "writes": 0.0,
    "block_seconds": None,
    "block_cpu_seconds": None,
}

SIDE: dict[str, Any] = {
    "seconds": [2.0, 4.0],
    "percentiles": {"p50": 2.0, "max": 4.0},
    "failed": 0,
    "failures": [],
    "parts": {"slots claimed": [1.0, 1.0], "Ready": [1.0, 3.0]},
    "all_seconds": 8.0,
}
NEW: dict[str, Any] = {
    "title": "2 at once",
    "sessions": 2,
    "operator": SIDE | {"begun_again": 0, "troubles": {}},
    "raw": SIDE | {"seconds": [1.0, 1.0], "parts": {"create_wallet": [1.0, 1.0]}, "all_seconds": 2.0},
    "ratio": 3.0,
    "machine_load": 7.6,
}
LATE: dict[str, Any] = {
    "title": "1/s",
    "sessions": 3,
    "operator": {
        "seconds": [],
        "percentiles": {},
        "failed": 3,
        "failures": ["Opening, WalletBusy"],
        "parts": {},
        "all_seconds": None,
        "begun_again": 0,
        "troubles": {},
    },
    "raw": None,
    "ratio": None,
    "machine_load": 2.0,
}

# With what an operator does not count left out: the page is to come out all the same.
FIGURES: dict[str, dict[str, Any]] = {
    "oldway": {"operations": {"balance": {"summary": {"old": S, "session": FAST}, "reduction": 0.998, "aim": 0.98}}},
    "open": {"summary": dict.fromkeys(("operator", "claimed", "raw", "cold"), S), "stages": {}},
    "create": {
        "loads": [NEW, LATE],
        "prepared": [NEW | {"title": "2 at once, prepared", "prepared": 2, "raw": None, "ratio": None}],
        "making_seconds": [8.0, 9.0],
        "standing": {"number": 2, "memory": 1e8, "pss": 6e7, "cores": 0.01, "cpu_per_block": 0.02, "blocks": 6},
        "beside": {"again": [1.0, 3.0], "again_meanwhile": [2.0], "taken_meanwhile": []},
        "wanted": 3,
        "affordable": 2,
        "ready_seconds": 420.0,
    },
    "gateway": {
        "direct": {"percentiles": {"p50": 0.001, "p90": 0.002, "p99": 0.003}},
        "gateway": {"percentiles": {"p50": 0.002, "p90": 0.004, "p99": 0.01}},
        "added": {"p50": 0.001, "p90": 0.002, "p99": 0.007},
        "load": {"requests": 5000, "seconds": 10.0, "cpu_seconds": 4.0, "memory": 7e7, "per_core": 1250.0},
        "method": "get_version",
        "aims": {"p50": 0.0015, "p99": 0.005, "per_core": 1000.0},
    },
    "tls": {"calls": {"refresh": {"summary": {"plain": S, "tls": FAST, "identified": FAST}}}},
    "failover": {
        "endings": {
            name: {
                "text": name,
                "aim": 3.0,
                "leads": [1.0, 2.5],
                "ready": [2.0, 4.0],
                "others": 1,
                "spread": {
                    "leads": {"p50": 1.0, "p95": 2.5, "max": 2.5},
                    "ready": {"p50": 2.0, "p95": 4.0, "max": 4.0},
                },
            }
            for name in ("lost", "killed", "stopped")
        },
        "client": {"calls": 100, "failures": 0, "longest_gap": 0.3},
    },
    "payment": {
        "mempool": {"seconds": [1.0, 2.5], "spread": {"p50": 1.0, "p95": 2.5, "max": 2.5}},
        "block": {"seconds": [], "spread": {}},
        "requests_per_second": {"paying": None, "idle": None},
        "aims": {"p95": 2.0, "requests_per_second": 1.0},
    },
    "capacity": {
        "target": 6,
        "reached": 6,
        "wave": 6,
        "limited_by": "nothing: the target was reached",
        "points": [POINT, POINT | {"sessions": 6, "wave_seconds": 60.0, "memory_available": 19e9}],
        "memory_per_session": 1e9 / 6,
        "idle": {"cores": None, "requests_per_second": None, "writes_per_second": None, "writes": {}},
    },
    "claims": {"steps": [STEP], "raw": {}, "saturation": 5.0, "saturation_to_raw": None},
    "hostile": {
        "sides": {
            name: {
                "seconds": [0.5, 1.0],
                "percentiles": {"p50": 0.5, "p90": 1.0, "p99": 1.0, "max": 1.0},
                "failed": 0,
                "cpu_cores": None,
                "memory_bytes": None,
                "machine_load": 2.0,
            }
            for name in ("quiet", "hostile", "rest")
        },
        "ratio": None,
        "junk": 500,
        "large": 50,
        "annotation_bytes": 204800,
        "writes": 100,
        "slow_calls": 20,
        "restarts": 0,
        "aim": 2.0,
    },
    "scale": {"sizes": [SIZE], "growth": {"memory_bytes": None}, "bytes_per_session": None},
}


def test_every_benchmark_has_its_place_on_the_page() -> None:
    assert set(SECTIONS) == set(FIGURES)


def test_the_page_is_made_of_the_results_there_are(tmp_path: Path) -> None:
    folder = tmp_path / "performance"
    for name in ("oldway", "scale"):
        result(name, figures=FIGURES[name], counts={"writes": 2.0}).write(folder)
    text = page.write(folder).read_text()
    assert "| balance | 2 s (1 s … 3 s) | 4 ms (3 ms … 5 ms) | 99.8% | ≥ 98%: met |" in text
    assert "](performance/oldway.svg)" in text
    assert "## Claiming slots" not in text
    assert "| `scale`: writes | 2 | 0 | no |" in text
    assert "| `oldway`: pods replaced | not counted | 0 | no |" in text


@pytest.mark.parametrize("name", FIGURES)
def test_figures_with_gaps_make_a_section_and_a_plot(name: str, tmp_path: Path) -> None:
    result(name, figures=FIGURES[name], quick=True).write(tmp_path)
    text = page.write(tmp_path).read_text()
    assert SECTIONS[name].title in text
    assert "quick run" in text
    assert "None" not in text


def test_what_is_said_of_new_escrows_comes_from_the_figures(tmp_path: Path) -> None:
    troubled = NEW | {
        "ratios": [2.0, 4.0],
        "operator": SIDE
        | {"failed": 1, "failures": ["Opening, WalletBusy"], "begun_again": 1, "troubles": {"WalletBusy": 2}}
        | {"all_seconds": None},
    }
    figures = FIGURES["create"] | {"loads": [NEW, troubled, LATE]}
    result("create", figures=figures).write(tmp_path)
    text = page.write(tmp_path).read_text()
    assert "| 2 at once | 2 | 0 | 3 s | – | 4 s | 8 s | 1 s | 2 s | 3.00 | 8 |" in text
    assert (
        "2 at once: Ready after 3 s (median), 3.00 times the raw key exchange; all 2 after 8 s, 15.0 a minute." in text
    )
    assert "(round by round: median 3.00, 2.00 … 4.00, of 2); 1 were not within 420 s (Opening, WalletBusy)" in text
    assert "; of 1 the key exchange was begun again with other files; Events told of trouble: WalletBusy (2)." in text
    assert "1/s: none was Ready within 420 s (Opening, WalletBusy)." in text
    assert "One after the other, in the time that each takes alone, 3 would be Ready after 9 s, and half of" in text
    assert "| 2 at once, prepared | 2 | 2 | 0 | 2 s | – | 4 s | 8 s |" in text
    assert "costs 100 MB of the machine's memory (60 MB of it" in text
    assert "| opens existing wallets | 2 s (1 s … 3 s) |" in text
    assert "another one 8.5 s (median; at most 9.0 s) after" in text
    assert "room for 2 sessions beside as many warm slots, not for 3" in text
    assert "| slots claimed | 1 s (33%) | 1 s (33%) |" in text
    assert "| create_wallet | 1 s (100%) | 1 s (100%) |" in text


def test_a_benchmark_that_nothing_came_of_has_no_plot(tmp_path: Path) -> None:
    assert draw("create", FIGURES["create"] | {"loads": [LATE]}, tmp_path) is None


def test_the_same_figures_draw_the_same_bytes(tmp_path: Path) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    drawn = []
    for folder in folders:
        folder.mkdir()
        file = draw("oldway", FIGURES["oldway"], folder)
        assert file is not None
        drawn.append(file.read_bytes())
    assert drawn[0] == drawn[1]
    assert b"<dc:date>" not in drawn[0]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.00425, "4.25 ms"), (0.25, "250 ms"), (3.14159, "3.14 s"), (62.4, "62.4 s")]
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text
