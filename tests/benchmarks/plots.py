"""The plots of docs/performance.md, as SVG. The same results give the same bytes: another plot is another result."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from escrow_operator.models.common import ROLES

OLD, NEW, AIM, REST = "#9a9a9a", "#0072b2", "#d55e00", "#d9d9d9"
SERIES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#9a9a9a")
"""Okabe and Ito's colours, which the colour-blind can tell apart."""

WIDTH = 8.0
"""Inches."""

_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "xmr-escrow",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "figure.constrained_layout.w_pad": 0.12,
    "figure.constrained_layout.h_pad": 0.1,
}

Figures = Mapping[str, Any]


def draw(name: str, figures: Figures, folder: Path) -> Path | None:
    """Draw the plot of a benchmark into a folder; its file, None when there is nothing to draw."""
    with mpl.rc_context(_STYLE):
        figure = _PLOTS[name](figures)
        if figure is None:
            return None
        file = folder / f"{name}.svg"
        figure.savefig(file, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
    # Matplotlib ends lines with blanks; git and people would see changes that are none.
    file.write_text("\n".join(line.rstrip() for line in file.read_text().splitlines()) + "\n")
    return file


def duration(seconds: float, _: object = None) -> str:
    """Seconds for people, in three digits: 4.25 ms, 250 ms, 3.1 s, 62.4 s."""
    return f"{seconds * 1000:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def _oldway(figures: Figures) -> Figure:
    """Bars of both sides."""
    sides = {
        "old": ("the old way: wallets are opened each time", OLD),
        "session": ("in a session: they are open", NEW),
    }
    return _bars({name: found["summary"] for name, found in figures["operations"].items()}, sides)


def _bars(rows: Mapping[str, Mapping[str, Mapping[str, float]]], sides: Mapping[str, tuple[str, str]]) -> Figure:
    """For each row the summaries of all ``sides`` (title and colour of each), in seconds.

    The scale is logarithmic: a linear one would not show what takes a hundredth at all.
    """
    figure = Figure(figsize=(WIDTH, 0.6 + (0.1 + 0.2 * len(sides)) * len(rows)), layout="constrained")
    axes = figure.subplots()
    pitch = 0.78 / len(sides)
    for row, summaries in enumerate(rows.values()):
        for place, (side, (_, color)) in enumerate(sides.items()):
            s, y = summaries[side], row + (place - (len(sides) - 1) / 2) * pitch
            spread = [[s["median"] - s["min"]], [s["max"] - s["median"]]]
            axes.barh(y, s["median"], pitch * 0.95, color=color, xerr=spread, error_kw={"lw": 1, "ecolor": "#444"})
            axes.text(s["max"] * 1.12, y, duration(s["median"]), va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set_xscale("log")
    everything = [summaries[side] for summaries in rows.values() for side in sides]
    axes.set_xlim(min(s["min"] for s in everything) / 2, max(s["max"] for s in everything) * 3)
    axes.xaxis.set_major_formatter(FuncFormatter(duration))
    axes.grid(visible=False, axis="y")
    handles = [Patch(color=color, label=title) for title, color in sides.values()]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(sides))
    return figure


def _open(figures: Figures) -> Figure:
    """Where the time to Ready goes, beside the raw calls."""
    figure = Figure(figsize=(WIDTH, 2.2), layout="constrained")
    axes = figure.subplots()
    medians = {name: s["median"] for name, s in figures["summary"].items()}
    stages = {name.removeprefix("stage "): v for name, v in medians.items() if name.startswith("stage ")}
    rest = medians["operator"] - sum(stages.values())
    parts = stages | {"until a client sees it" if stages else "in all": max(0.0, rest)}
    colors = [*SERIES[: len(stages)], REST]
    _beside(axes, parts, colors, whole=medians["operator"], raw=medians["raw"], raw_title="three raw open_wallet calls")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _beside(
    axes: Axes, parts: Mapping[str, float], colors: Sequence[str], *, whole: float, raw: float | None, raw_title: str
) -> None:
    """Two bars: the parts of the time to Ready, one after the other, and below it the raw calls."""
    left = 0.0
    for (name, seconds), color in zip(parts.items(), colors, strict=True):
        axes.barh(0, seconds, left=left, height=0.6, color=color, label=f"{name} {duration(seconds)}")
        left += seconds
    axes.text(left * 1.01, 0, duration(whole), va="center")
    axes.set_yticks([0], ["apply to Ready"])
    if raw is not None:
        axes.barh(1, raw, height=0.6, color=OLD)
        axes.text(raw + left * 0.01, 1, duration(raw), va="center")
        axes.set_yticks([0, 1], ["apply to Ready", raw_title])
    axes.invert_yaxis()
    axes.set_xlim(0, max(left, raw or 0.0) * 1.12)
    axes.set_xlabel("seconds (medians)")
    axes.grid(visible=False, axis="y")


def _create(figures: Figures) -> Figure | None:
    """Where the time of one new session goes, and the share of sessions that are Ready within a time."""
    loads = [load for load in figures["loads"] if load["operator"]["seconds"]]
    given = [load for load in figures.get("prepared", ()) if load["operator"]["seconds"]]
    if not loads:
        return None
    figure = Figure(figsize=(WIDTH, 7.8), layout="constrained")
    top, above, below = figure.subfigures(3, 1, height_ratios=(1.2, 1, 1.4), squeeze=False).flat
    axes = top.subplots()
    for load, color in zip(given, SERIES, strict=False):
        number = len(load["operator"]["seconds"]) + load["operator"]["failed"]
        _shares(axes, load["operator"]["seconds"], number, load["title"], color=color)
    axes.set_xlabel("seconds until Ready, with a prepared escrow for each")
    _in_percent(axes, "all")
    top.legend(loc="outside lower center", ncols=3)
    first = loads[0]
    parts = {name: statistics.median(values) for name, values in first["operator"]["parts"].items()}
    whole, raw = (median_of(first[name]) for name in ("operator", "raw"))
    if not parts:
        parts = {"in all": whole or 0.0}
    axes = above.subplots()
    _beside(axes, parts, SERIES[: len(parts)], whole=whole or 0.0, raw=raw, raw_title="raw key exchange")
    axes.set_xlabel(f"seconds, {first['title']} (medians)")
    above.legend(loc="outside lower center", ncols=3)
    axes = below.subplots()
    for load, color in zip(loads, SERIES, strict=False):
        for side, style, title in (("operator", "-", load["title"]), ("raw", "--", f"{load['title']}, raw exchange")):
            if found := load[side]:
                number = len(found["seconds"]) + found["failed"]
                _shares(axes, found["seconds"], number, title, color=color, style=style)
    axes.set_xlabel("seconds until Ready; of the raw exchange, until its end")
    _in_percent(axes, "all")
    below.legend(loc="outside lower center", ncols=3)
    return figure


def _in_percent(axes: Axes, what: str) -> None:
    """The axes of a plot of shares over a time."""
    axes.set_ylabel(f"share of {what} (%)")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 102)


def _shares(axes: Axes, seconds: Sequence[float], number: int, title: str, *, color: str, style: str = "-") -> None:
    """The share of so many that had come to their end: failed ones never do."""
    values = sorted(seconds)
    shares = [100 * (index + 1) / number for index in range(len(values))]
    axes.step([0, *values], [0, *shares], where="post", color=color, ls=style, lw=2, label=f"{title} (n = {number})")


def median_of(side: Figures | None) -> float | None:
    """Of the seconds of one side of a benchmark; None when it has none."""
    return float(statistics.median(side["seconds"])) if side and side["seconds"] else None


def _payment(figures: Figures) -> Figure | None:
    """The share of payments that show within a time."""
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, title, color in (("mempool", "payment in the mempool", NEW), ("block", "payment in a block", SERIES[1])):
        values = sorted(figures[name]["seconds"])
        if not values:
            return None
        _shares(axes, values, len(values), title, color=color)
    aim = figures["aims"]["p95"]
    axes.axvline(aim, color=AIM, ls="--", lw=1)
    axes.plot([aim], [95], "o", color=AIM, label=f"aim: 95 % within {aim:g} s")
    axes.set_xlabel("seconds until a client that watches the session sees it")
    _in_percent(axes, "payments")
    figure.legend(loc="outside upper right", ncols=3)
    return figure


def _failover(figures: Figures) -> Figure | None:
    """The share of runs in which another term has begun within a time."""
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    for found, color in zip(figures["endings"].values(), (OLD, SERIES[1], NEW), strict=True):
        values = sorted(found["leads"])
        _shares(axes, values, len(values), found["text"], color=color)
    for aim in sorted({found["aim"] for found in figures["endings"].values()}):
        axes.axvline(aim, color=AIM, ls="--", lw=1)
    axes.set_xlabel("seconds until another term of leadership begins (dashed: the aims)")
    _in_percent(axes, "runs")
    figure.legend(loc="outside upper right", ncols=1)
    return figure


def _hostile(figures: Figures) -> Figure | None:
    """The share of the others' sessions that are Ready within a time, on each side."""
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    titles = {"quiet": "before he comes", "hostile": "among all of it", "rest": "he rests"}
    for (name, side), color in zip(figures["sides"].items(), (NEW, OLD, SERIES[1]), strict=True):
        if not side["seconds"]:
            return None
        _shares(axes, side["seconds"], len(side["seconds"]) + side["failed"], titles[name], color=color)
    axes.set_xlabel("seconds from POST to Ready")
    _in_percent(axes, "the others' sessions")
    figure.legend(loc="outside upper right", ncols=3)
    return figure


def _gateway(figures: Figures) -> Figure | None:
    """The share of calls that end within a time, directly and through the gateway."""
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, title, color in (("direct", "directly", OLD), ("gateway", "through the gateway", NEW)):
        values = sorted(1e3 * seconds for seconds in figures[name].get("seconds") or ())
        if not values:
            return None
        _shares(axes, values, len(values), title, color=color)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("milliseconds of a call")
    axes.set_ylabel("share of calls (%)")
    axes.set_ylim(0, 102)
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def _tls(figures: Figures) -> Figure:
    """Bars of each way to monerod."""
    sides = {"plain": ("plain HTTP", OLD), "tls": ("TLS", NEW), "identified": ("TLS, with a certificate", SERIES[2])}
    return _bars({name: found["summary"] for name, found in figures["calls"].items()}, sides)


def _capacity(figures: Figures) -> Figure:
    """Memory and the time of each wave, against the sessions there are."""
    points = figures["points"]
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    sessions = [point["sessions"] for point in points]
    used = [(points[0]["memory_available"] - point["memory_available"]) / 1e9 for point in points]
    left.plot(sessions, used, "o-", color=NEW, ms=4, label="taken from the machine")
    wallets = [len(ROLES) * point["sessions"] * point["wallet_pss"] / 1e9 for point in points]
    left.plot(sessions, wallets, "o--", color=SERIES[2], ms=4, label="of that, wallet-rpc (PSS)")
    left.set_ylabel("memory (GB)")
    left.legend(loc="upper left")
    seconds = [point["wave_seconds"] for point in points[1:]]
    right.plot(sessions[1:], seconds, "o-", color=SERIES[1], ms=4)
    right.set_ylabel(f"until {figures['wave']} more were Ready (s)")
    right.set_ylim(0, 1.15 * max(seconds, default=1.0))
    for axes in (left, right):
        axes.set_xlabel("sessions")
        axes.set_xlim(0, 1.05 * max(1, *sessions))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _claims(figures: Figures) -> Figure | None:
    """Percentiles of the time to three slots, against the rate at which sessions come."""
    steps = [step for step in figures["steps"] if step["rate"] is not None and step["claim_seconds"]]
    if not steps:
        return None
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    rates = [step["rate"] for step in steps]
    for key, color in zip(("p50", "p90", "p99"), SERIES, strict=False):
        axes.plot(rates, [step["claim_seconds"][key] for step in steps], "o-", color=color, ms=4, label=key)
    raw = {step["rate"]: figures["raw"][step["title"]] for step in steps if step["title"] in figures["raw"]}
    found = {rate: step["claim_seconds"]["p50"] for rate, step in raw.items() if step["claim_seconds"]}
    if found:
        axes.plot(list(found), list(found.values()), "D--", color=OLD, ms=5, label="p50 of the three bare patches")
    axes.set_yscale("log")
    _plain_log(axes)
    axes.set_xscale("log")
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates], minor=False)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("sessions applied per second")
    axes.set_ylabel("from apply to three slots")
    figure.legend(loc="outside upper right", ncols=4)
    return figure


def _scale(figures: Figures) -> Figure:
    """What many sessions cost, on logarithmic scales: a straight line at 45 degrees grows as their number does."""
    sizes = figures["sizes"]
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    panels = (
        ("memory_bytes", "memory (MB)", 1e6),
        ("cpu_cores", "CPU while nothing happens (% of a core)", 0.01),
        ("restart_seconds", "from start to all looked at (s)", 1.0),
    )
    for axes, (key, title, unit), color in zip(figure.subplots(1, 3), panels, SERIES, strict=False):
        points = [(size["sessions"], size[key] / unit) for size in sizes if size[key]]
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("sessions")
        if not points:
            continue
        axes.plot(*zip(*points, strict=True), "o-", color=color, ms=4, label="measured")
        first = points[0]
        linear = [first[1] * number / first[0] for number, _ in points]
        axes.plot([number for number, _ in points], linear, ":", color=OLD, label="in proportion")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks([number for number, _ in points], [f"{number:,}" for number, _ in points], minor=False)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.legend(loc="upper left", fontsize=8)
    return figure


def _plain_log(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(duration))
    axes.yaxis.set_minor_formatter(NullFormatter())


_PLOTS: Mapping[str, Callable[[Figures], Figure | None]] = {
    "oldway": _oldway,
    "open": _open,
    "create": _create,
    "payment": _payment,
    "tls": _tls,
    "gateway": _gateway,
    "failover": _failover,
    "capacity": _capacity,
    "claims": _claims,
    "hostile": _hostile,
    "scale": _scale,
}
