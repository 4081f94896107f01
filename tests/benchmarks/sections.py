"""What docs/performance.md says of each benchmark: a text that explains it, and tables of its figures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from escrow_operator.adapters.wallet_rpc import FILE_DEADLINE

from .measuring import summary
from .plots import duration, median_of

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Section:
    """A benchmark on the page."""

    title: str
    text: str
    tables: Callable[[Figures], str]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; numbers read best on the right, so all but the first column are there."""
    lines = [_line(head), _line(["---", *["---:"] * (len(head) - 1)]), *(_line(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _with_range(s: Mapping[str, float]) -> str:
    return f"{duration(s['median'])} ({duration(s['min'])} … {duration(s['max'])})"


def _or_dash(value: float | None, form: str = "{:.3g}") -> str:
    return "–" if value is None else form.format(value)


def _met(value: float, aim: float, *, at_least: bool = False, form: str = "{:g}") -> str:
    kept = value >= aim if at_least else value <= aim
    return f"{'≥' if at_least else '≤'} {form.format(aim)}: {'met' if kept else '**missed**'}"


def _oldway(figures: Figures) -> str:
    rows = []
    for name, found in figures["operations"].items():
        aim = found["aim"]
        rows.append(
            (
                name,
                _with_range(found["summary"]["old"]),
                _with_range(found["summary"]["session"]),
                f"{found['reduction']:.1%}",
                "" if aim is None else _met(found["reduction"], aim, at_least=True, form="{:.0%}"),
            )
        )
    return table(("Operation: median (min … max)", "Old way", "Session", "Reduction", "Aim"), rows)


def _open(figures: Figures) -> str:
    s = figures["summary"]
    raw = s["raw"]["median"]
    titles = {
        "raw": "three raw `open_wallet` calls at once (baseline)",
        "operator": "apply → Ready, slots warm",
        "claimed": "of that, until the slots are claimed",
        "cold": "apply → Ready, nothing warm: pods start first",
    }
    rows = [(title, _with_range(s[key]), f"{s[key]['median'] / raw:.2f}") for key, title in titles.items()]
    text = table(("What", "Median (min … max)", "Against the baseline"), rows)
    ratio = round(s["operator"]["median"] / raw, 2)
    text += f"\nAim for warm slots, against the baseline: {_met(ratio, AIM_OPEN)}."
    text += f" Round by round: {_rounds(figures['ratios'])}.\n" if figures.get("ratios") else "\n"
    stages = {name.removeprefix("stage "): v for name, v in s.items() if name.startswith("stage ")}
    if stages:
        cells = [(name, _with_range(v), f"{v['median'] / s['operator']['median']:.0%}") for name, v in stages.items()]
        text += "\n" + table(("Stage (the operator's own account)", "Median (min … max)", "Share"), cells)
    return text


def _rounds(ratios: Sequence[float]) -> str:
    return f"median {statistics.median(ratios):.2f}, {min(ratios):.2f} … {max(ratios):.2f}, of {len(ratios)}"


def _create(figures: Figures) -> str:
    # Results of before there were prepared escrows have none.
    return (_given(figures) + "\n" if figures.get("prepared") else "") + _made(figures)


def _given(figures: Figures) -> str:
    """Sessions that got a prepared escrow."""
    loads = figures["prepared"]
    rows = []
    for load in loads:
        ours = load["operator"]
        rows.append(
            (
                load["title"],
                str(load["sessions"]),
                str(load["prepared"]),
                str(ours["failed"]),
                *(_seconds(ours["percentiles"].get(key)) for key in ("p50", "p90", "max")),
                _seconds(ours["all_seconds"]),
            )
        )
    head = ("Sessions come", "In all", "Prepared", "Failed", "Median", "p90", "max", "All Ready")
    text = table(head, rows) + "\n"
    for load in loads:
        if troubles := load["operator"]["troubles"]:
            told = ", ".join(f"{name} ({number})" for name, number in sorted(troubles.items()))
            text += f"- {load['title']}: Events told of trouble: {told}.\n"
    if making := figures["making_seconds"]:
        text += (
            f"\nThe pool has another one {statistics.median(making):.1f} s (median; at most {max(making):.1f} s) after"
            " the session that took the only one is gone.\n"
        )
    if "standing" in figures:
        text += "\n" + _cost(figures["standing"], figures["beside"])
    return text + "\n" + _parts("Stage of one that was prepared (medians)", loads, "operator")


def _cost(standing: Figures, beside: Mapping[str, Sequence[float]]) -> str:
    """What prepared escrows cost while nobody takes them, and while one is made."""
    at_block = standing["cpu_per_block"] * 1e3
    # A difference between two small loads: noise may be more than what is looked for.
    told = f"{at_block:.0f} ms" if at_block >= 1 else "less than can be told"
    text = (
        f"A prepared escrow that nobody takes costs {standing['memory'] / 1e6:.0f} MB of the machine's memory"
        f" ({standing['pss'] / 1e6:.0f} MB of it its three wallets), measured with {standing['number']} of them. Their"
        f" wallets take {standing['cores']:.3f} cores in all while the chain rests, and {told}"
        f" of CPU each for a further block (mean of {standing['blocks']}; regtest: blocks are small).\n\n"
    )
    titles = {
        "again": "opens existing wallets",
        "again_meanwhile": "the same, while an escrow is prepared",
        "taken_meanwhile": "takes a prepared escrow, while another one is prepared",
    }
    rows = [(title, _with_range(summary(beside[name]))) for name, title in titles.items() if beside[name]]
    return text + table(("A session that …", "Apply → Ready: median (min … max)"), rows)


def _made(figures: Figures) -> str:
    """Sessions whose wallets were made when they came."""
    loads = figures["loads"]
    rows = []
    for load in loads:
        ours, raw = load["operator"], load["raw"]
        rows.append(
            (
                load["title"],
                str(load["sessions"]),
                str(ours["failed"]),
                _seconds(median_of(ours)),
                *(_seconds(ours["percentiles"].get(key)) for key in ("p90", "max")),
                _seconds(ours["all_seconds"]),
                _seconds(median_of(raw)),
                _seconds(raw and raw["all_seconds"]),
                _or_dash(load["ratio"], "{:.2f}"),
                f"{load['machine_load']:.0f}",
            )
        )
    head = ("Sessions come", "In all", "Failed", "Median", "p90", "max", "All Ready")
    text = table((*head, "Raw: median", "Raw: all done", "Against raw", "Machine's load"), rows)
    text += "\n" + "".join(f"- {_created(load, figures['ready_seconds'])}\n" for load in loads)
    first, last = loads[0], loads[-1]
    one = median_of(first["operator"])
    if one is not None and last is not first:
        # What is to be gained, or not, by making wallets of fewer sessions at a time.
        text += (
            f"\nOne after the other, in the time that each takes alone, {last['sessions']} would be Ready after"
            f" {duration(one * last['sessions'])}, and half of them after {duration(one * last['sessions'] / 2)}.\n"
        )
    if figures["affordable"] < figures["wanted"]:
        text += (
            f"\nThe machine had room for {figures['affordable']} sessions beside as many warm slots, not for"
            f" {figures['wanted']}: the others waited for their pods to start.\n"
        )
    text += "\n" + _parts("Stage, as a client sees it (medians)", loads, "operator")
    return text + "\n" + _parts("Step of the raw key exchange (medians)", loads, "raw")


def _created(load: Figures, patience: float) -> str:
    """What is to be said of a load, in whole sentences."""
    ours, title = load["operator"], load["title"][0].upper() + load["title"][1:]
    ready = len(ours["seconds"])
    why = "; ".join(ours["failures"])
    if not ready:
        return f"{title}: none was Ready within {patience:g} s ({why})."
    text = f"{title}: Ready after {_seconds(median_of(ours))} (median)"
    if load["ratio"] is not None:
        text += f", {load['ratio']:.2f} times the raw key exchange"
        text += f" (round by round: {_rounds(load['ratios'])})" if load.get("ratios") else ""
    if ours["all_seconds"] is not None:
        text += f"; all {ready} after {duration(ours['all_seconds'])}, {60 * ready / ours['all_seconds']:.1f} a minute"
    if ours["failed"]:
        text += f"; {ours['failed']} were not within {patience:g} s ({why})"
    if ours["begun_again"]:
        text += f"; of {ours['begun_again']} the key exchange was begun again with other files"
    if ours["troubles"]:
        told = ", ".join(f"{name} ({number})" for name, number in sorted(ours["troubles"].items()))
        text += f"; Events told of trouble: {told}"
    return text + "."


def _parts(head: str, loads: Sequence[Figures], side: str) -> str:
    """Medians of the stages or steps, a column for each load that has them."""
    found = [load for load in loads if load[side] and load[side]["parts"]]
    if not found:
        return ""
    medians = [{name: statistics.median(v) for name, v in load[side]["parts"].items()} for load in found]
    rows = [
        (name, *(f"{duration(m[name])} ({m[name] / sum(m.values()):.0%})" if name in m else "–" for m in medians))
        for name in medians[0]
    ]
    return table((head, *(load["title"] for load in found)), rows)


def _seconds(value: float | None) -> str:
    return "–" if value is None else duration(value)


def _payment(figures: Figures) -> str:
    aims = figures["aims"]
    rows = []
    for name, title in (("mempool", "payment in the mempool"), ("block", "first confirmation, from its block")):
        s = figures[name]["spread"]
        if s:
            cells = [duration(s[key]) for key in ("p50", "p95", "max")]
            count = str(len(figures[name]["seconds"]))
            rows.append((title, count, *cells, _met(s["p95"], aims["p95"], form="{:g} s at p95")))
    text = table(("Until the status shows", "Payments", "p50", "p95", "max", "Aim"), rows)
    aim = aims["requests_per_second"]
    rates = [
        # The window's two ends may each hold a request more: one digit is what it tells.
        (f"operator's requests to monerod, {name}", f"{rate:.2f}/s", _met(round(rate, 1), aim, form="{:g}/s"))
        for name, rate in figures["requests_per_second"].items()
        if rate is not None
    ]
    return text + ("\n" + table(("Cost", "Measured", "Aim"), rates) if rates else "")


def _failover(figures: Figures) -> str:
    rows = []
    for found in figures["endings"].values():
        leads, ready = found["spread"]["leads"], found["spread"]["ready"]
        cells = [duration(spread[key]) for spread in (leads, ready) for key in ("p50", "max")]
        aim = _met(leads["max"], found["aim"], form="{:g} s")
        rows.append((found["text"], str(len(found["leads"])), str(found["others"]), *cells, aim))
    head = ("The leader ends", "Runs", "Another pod", "Leads: p50", "max", "Ready: p50", "max", "Aim, all runs")
    client = figures["client"]
    said = (
        f"The client's {client['calls']} calls: {client['failures']} failed, and the longest time without an answer was"
        f" {duration(client['longest_gap'])}."
    )
    return f"{table(head, rows)}\n{said}\n"


def _tls(figures: Figures) -> str:
    rows = []
    for name, found in figures["calls"].items():
        plain, *others = (found["summary"][link] for link in ("plain", "tls", "identified"))
        cells = [_with_range(plain)]
        for other in others:
            cells += [_with_range(other), f"{other['median'] / plain['median']:.2f}"]
        rows.append((f"`{name}`", *cells))
    head = ("Plain HTTP to monerod", "TLS", "against plain", "TLS with a certificate", "against plain")
    return table(("Call: median (min … max)", *head), rows)


def _gateway(figures: Figures) -> str:
    aims = figures["aims"]
    rows = []
    for title, found in (
        ("directly, digest login", figures["direct"]["percentiles"]),
        ("through the gateway, TLS", figures["gateway"]["percentiles"]),
        ("added", figures["added"]),
    ):
        rows.append((title, *(f"{1e3 * seconds:.2f} ms" for seconds in found.values())))
    head = (f"`{figures['method']}`", *figures["added"])
    load = figures["load"]
    return (
        table(head, rows)
        + f"\nAims for what is added: p50 {_met(1e3 * figures['added']['p50'], 1e3 * aims['p50'], form='{:g} ms')},"
        f" p99 {_met(1e3 * figures['added']['p99'], 1e3 * aims['p99'], form='{:g} ms')}. All wallets at once:"
        f" {load['requests'] / load['seconds']:.0f} requests/s with {load['cpu_seconds'] / load['seconds']:.2f} cores"
        f" of the gateway, which is {load['per_core']:.0f} a core"
        f" ({_met(load['per_core'], aims['per_core'], at_least=True, form='{:.0f}')}); the larger replica took"
        f" {load['memory'] / 1e6:.0f} MB.\n"
    )


def _capacity(figures: Figures) -> str:
    rows = []
    for point in figures["points"]:
        operator, cpu = point["operator_memory"], point["operator_cpu"]
        rows.append(
            (
                str(point["sessions"]),
                str(point["pods"]),
                f"{point['wave_seconds']:.0f} s" if point["sessions"] else "",
                f"{point['memory_available'] / 1e9:.2f} GB",
                _or_dash(operator and operator / 1e6, "{:.0f} MB"),
                _or_dash(cpu, "{:.1f} s"),
                f"{point['wallet_rss'] / 1e6:.0f} / {point['wallet_pss'] / 1e6:.0f} MB" if point["sessions"] else "",
            )
        )
    head = ("Sessions", "Pods", f"Last {figures['wave']}", "Memory left", "Operator", "Its CPU", "Wallet (RSS / PSS)")
    idle, per = figures["idle"], figures["memory_per_session"]
    summary = (
        ("sessions reached", f"{figures['reached']} of {figures['target']}"),
        ("limited by", figures["limited_by"]),
        ("memory of the machine per session", _or_dash(per and per / 1e6, "{:.0f} MB")),
        ("operator's CPU while nothing happens", _or_dash(idle["cores"] and idle["cores"] * 100, "{:.1f} % of a core")),
        ("its API requests while nothing happens", _or_dash(idle["requests_per_second"], "{:.2f}/s")),
        ("its writes while nothing happens", _or_dash(idle["writes_per_second"], "{:.2f}/s")),
    )
    return table(("In all", "Measured"), summary) + "\n" + table(head, rows)


def _claims(figures: Figures) -> str:
    rows = []
    for step in figures["steps"]:
        raw = figures["raw"].get(step["title"], {}).get("claim_seconds", {})
        seconds = step["claim_seconds"]
        cells = [duration(seconds[key]) if key in seconds else "–" for key in ("p50", "p90", "p99", "max")]
        rows.append(
            (
                step["title"],
                str(step["sessions"]),
                *cells,
                duration(raw["p50"]) if raw else "–",
                f"{step['per_second']:.1f}/s",
                str(step["errors"]),
                str(step["claimed_twice"]),
                _or_dash(step["requests_per_claim"], "{:.1f}"),
            )
        )
    head = ("Sessions come", "In all", "p50", "p90", "p99", "max", "p50, bare patches", "Claimed")
    text = table((*head, "Errors", "Claimed twice", "Requests per session"), rows)
    if figures["saturation_to_raw"]:
        share = f"{figures['saturation_to_raw']:.0%} of what a client does that sends nothing but the three patches"
        text += f"\nAt most {figures['saturation']:.1f} sessions a second got their slots: {share}.\n"
    return text


def _hostile(figures: Figures) -> str:
    titles = {"quiet": "before he comes", "hostile": "among all of it", "rest": "he rests, his objects stay"}
    rows = []
    for name, side in figures["sides"].items():
        cells = [_seconds(side["percentiles"].get(key)) for key in ("p50", "p90", "p99", "max")]
        cpu, memory = side["cpu_cores"], side["memory_bytes"]
        rows.append(
            (
                titles[name],
                str(len(side["seconds"])),
                str(side["failed"]),
                *cells,
                _or_dash(cpu, "{:.2f}"),
                _or_dash(memory and memory / 1e6, "{:.0f} MB"),
            )
        )
    head = ("The others: POST → Ready", "Sessions", "Failed", "p50", "p90", "p99", "max", "Operator's cores", "Memory")
    text = table(head, rows)
    text += (
        f"\nHis part: {figures['junk']:,} sessions, {figures['large']:,} of them with annotations of"
        f" {figures['annotation_bytes'] // 1024} KiB, which were written {figures['writes']:,} times;"
        f" {figures['slow_calls']:,} calls that his wallets answered a byte each second.\n"
    )
    ratio = figures["ratio"]
    if ratio is not None:
        text += (
            f"\nThe others' p99, among all of it by before: {_met(round(ratio, 2), figures['aim'])} ({ratio:.2f}).\n"
        )
    return text


def _scale(figures: Figures) -> str:
    rows = []
    for size in figures["sizes"]:
        memory, peak, cpu, wait = (
            size[k] for k in ("memory_bytes", "peak_memory_bytes", "cpu_cores", "restart_seconds")
        )
        rows.append(
            (
                f"{size['sessions']:,}",
                _or_dash(size["ready_seconds"], "{:.1f} s"),
                _or_dash(wait, "{:.1f} s"),
                _or_dash(memory and memory / 1e6, "{:.0f} MB"),
                _or_dash(peak and peak / 1e6, "{:.0f} MB"),
                _or_dash(cpu and cpu * 100, "{:.1f} %"),
                f"{sum(size['requests'].values()):.2f}/s",
                f"{size['writes']:.0f}",
                _or_dash(size["block_seconds"], "{:.1f} s"),
                _or_dash(size["block_cpu_seconds"], "{:.1f} s"),
            )
        )
    head = ("Sessions", "Operator Ready", "All looked at", "Memory", "At most", "CPU", "API requests", "Writes")
    text = table((*head, "A block: all read", "Its CPU"), rows)
    largest = figures["sizes"][-1]
    if largest["sessions"] >= MANY:
        text += "\n" + table((f"At {largest['sessions']:,} sessions", "Aim"), _many(largest))
    known = [(name.replace("_", " "), f"{b:.2f}") for name, b in figures["growth"].items() if b is not None]
    text += "\n" + table(("Grows with this power of the number of sessions (1: in proportion)", "Exponent"), known)
    if figures["bytes_per_session"] is not None:
        text += f"\nA session takes {figures['bytes_per_session'] / 1000:.1f} kB of the operator's memory.\n"
    return text


def _many(size: Figures) -> list[tuple[str, str]]:
    """The aims for many sessions. A restart that was given up has no seconds."""
    aims = [
        ("memory, at most, MB", size["peak_memory_bytes"] and size["peak_memory_bytes"] / 1e6, 400.0),
        ("CPU, cores", size["cpu_cores"], 0.5),
        ("restart until all were looked at, s", size["restart_seconds"], 60.0),
        ("writes while nothing happens", size["writes"], 0.0),
    ]
    return [(what, "**missed**" if value is None else _met(value, aim)) for what, value, aim in aims]


AIM_OPEN = 1.2
MANY = 10_000

_OLDWAY = """\
The old way is a server that opens the three wallet files of an escrow one after the other for every RPC, brings each
up to date, does the RPC and closes them. In a session the wallets are open and kept up to date: what remains is the
RPC. Both sides use the same kind of pod, image and connection, in turns.

The variants are kinder to the old way, or harder on the session: only one of the three wallets is opened; the session's
wallet is refreshed first, although the operator did that; all steps of a payout are done with the wallets opened once.
*From the status* is what most clients do: one GET of the EscrowSession. *Session init* is paid once per trade: three
opens and a look at the addresses, against applying the session until it is Ready.

Confirmations are read with `get_transfers`, which the wallet answers by itself as of the block it is at. With
`get_transfer_by_txid` (*monerod asked first*) it asks monerod for its mempool before that."""

_OPEN = """\
From `kubectl apply` of a session with existing wallets to Ready, seen by a client's watch. The baseline is the three
`open_wallet` calls alone, at the same time, on the same wallets and the same kind of pods. The difference is what the
operator adds, and what the machine does meanwhile. Both sides use the project's wallet image, which makes smaller
throw-away TLS keys at each `open_wallet` than Monero does by itself (*Wallets and their monerod*, below)."""

_CREATE = f"""\
From `kubectl apply` of a new escrow (`setup: Create`) to Ready, seen by a client's watch: what a customer waits for
first. While the pool has prepared escrows a session takes one. The pool prepares others when nobody is being served:
sessions that come at a rate meet it at that.

Without one the three wallets are made when the session comes. Slots are warm, and each session takes three of them. The
baseline is the key exchange alone, as a client written by hand does it: three wallets are created and exchange their
messages, and are stored. It runs in the operator's pod and uses slots of the same pool that nobody has used: in turns
with the sessions that come one at a time, and before those that come all at once. It waits for as long as a call takes;
the operator gives up on one after {FILE_DEADLINE:g} s, says so in an Event, and begins again.

The operator does more. Deeds are stored before a wallet is made, and wallets are closed and opened again as the deeds
say before anybody sees their address. Slots that were claimed are replaced, and wallets that take long to make share
the machine's time with that; a raw client claims none. A new wallet is CPU: where sessions come faster than the cores
make wallets, all of them wait for each other. Of so few sessions p99 would be the maximum. A session that is not Ready
in time has failed, and is in no percentile. The machine's load is how many processes ran or wanted to, in the last
minute of it: those of the wallets, and those of whoever else used the machine."""

_PAYMENT = """\
A customer pays into an Active session. The clock runs from when monerod has the transaction, or the block, to when a
client that watches the EscrowSession sees it, with the intervals of the chart."""

_TLS = """\
What a wallet's calls take, by the way in which it reaches its monerod. The baseline is plain HTTP. There, a call for
which wallet-rpc asks monerod takes 40 ms more than its work: it sends head and body of its request as two packets
without TCP_NODELAY, so the second one waits until the first was acknowledged, which monerod's kernel puts off for as
long as it may. On TLS connections Monero sets TCP_NODELAY. That this is the reason was seen with
`ip route change … quickack 1` in the network namespace of the plain monerod: its calls took 1.7 ms then.

TLS has its price: `open_wallet` makes an RSA key for every TLS client the wallet has, which takes as long as luck will
have it. One is made in any case, for a messaging system that nobody uses and no option turns off; TLS to monerod makes
it two, unless the wallets are given a certificate to show (`daemon.tls.clientSecretRef`). Here they are made with 2048
bits, by the library that the wallet image preloads (`images/wallet/tls_key.c`), and not with Monero's 4096."""

_GATEWAY = """\
What a backend waits for besides the wallet: the same short call from the same pod in the cluster, in turns directly (a
kept connection with its digest login) and through the Service of the gateway (TLS, a token that is known, the right
checked, the session known). Then as many as go, three wallets at once with four callers each: the wallets, which do one
call at a time, and the gateway share the machine's cores, so what counts is requests for each second of the gateway's
CPU.
"""

_FAILOVER = """\
Two replicas with the chart's own election. The clock starts when the leader ends, or is told to. *Leads*: until another
term of leadership has begun, in another pod or the same one. *Ready*: until a session is Ready that was applied when
nobody led, with an escrow that was prepared. All the time a client calls an open wallet every 0.1 s."""

_CAPACITY = """\
Real sessions, each with three wallets of its own made by key exchange, in waves until the target or until something is
used up. The pool is as warm after each wave as before the first, so that differences are due to the sessions alone.
Memory left is the whole machine's: kubelet's and the container runtime's share is in it. PSS counts what processes
share (the program itself) once, RSS in each. The operator looks at each session every 2 s here, not every 30 s.

Two limits are not memory's: kubelet takes 110 pods a node, and monerod 100 RPC connections, of which each open wallet
holds one. This monerod was told to take more ([Install](install.md#1-a-monerod)); with its own limit the last of 36
sessions never became Ready."""

_CLAIMS = """\
Many sessions at a fixed rate, or all at once, against a real API server. The slots are simulated (kwok), and so are
their wallets. The time runs from a client's POST until its watch has shown three pods of the session. The baseline is a
client that sends the three patches of each claim and nothing else; it is no upper bound of what one could reach, as
nothing refills the pools meanwhile. Aims: p99 ≤ 250 ms at 1 session/s, ≤ 1 s at 5/s, more than 8 sessions/s before the
rate is no longer kept. For comparison, the nearest peer (agent-sandbox, one pod per claim, 500 warm ones) was measured
on such a machine with p50 85 ms and p99 285 ms at 3 claims/s, p99 2.8 s at 15/s, and not more than 13 claims/s."""

_SCALE = """\
Active sessions as real objects of a real API server, with simulated pods and wallets. The operator is started anew for
each number; after that nothing happens, and what it costs then is measured. Aims at 10,000: 400 MB, half a core, looked
at all of them within 60 s of the start, no writes.

Last comes a block. Each session is then read in full, at its height, those that await money first; how long until all
are, and the CPU time for it, is the price of every two minutes on mainnet."""

_HOSTILE = """\
One tenant does all that he may in his namespace: thousands of sessions that wait for slots, for a pool or for a Secret
that never is, some with annotations as large as the API server takes, written again and again; wallets that answer a
byte each second; a monerod that hangs up every other second. Meanwhile the sessions of another namespace, two a second,
are timed from their POST to Ready, as a client's watch sees it. API server and operator are real; pods, wallets and
monerods are simulated, so that it is the operator's attention that runs short and not the machine's cores. Not all
10,000 are large: that would be 2 GB, which is all that etcd takes, and the end of the API server whoever watches."""

SECTIONS: Mapping[str, Section] = {
    "oldway": Section("The old way against sessions", _OLDWAY, _oldway),
    "open": Section("Opening a session", _OPEN, _open),
    "create": Section("Making a new escrow", _CREATE, _create),
    "payment": Section("From a payment to the status", _PAYMENT, _payment),
    "tls": Section("Wallets and their monerod", _TLS, _tls),
    "gateway": Section("Calls through the gateway", _GATEWAY, _gateway),
    "failover": Section("When the leading operator ends", _FAILOVER, _failover),
    "capacity": Section("Sessions on one machine", _CAPACITY, _capacity),
    "claims": Section("Claiming slots", _CLAIMS, _claims),
    "hostile": Section("A hostile neighbour", _HOSTILE, _hostile),
    "scale": Section("Many sessions", _SCALE, _scale),
}
"""In the order of the page."""
