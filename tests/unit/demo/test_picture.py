"""The picture of the demo has the telling lines, as they were printed, and needs no other host."""

from __future__ import annotations

from pathlib import Path

from demo.picture import Kind, Line, save, telling

LINES = [
    Line(Kind.CHAPTER, "\033[1m── 2. A WalletPool \033[0m"),
    Line(Kind.COMMAND, "$ kubectl get walletpool,pods -n demo"),
    Line(Kind.CHAPTER, "\033[1m── 3. An EscrowSession \033[0m"),
    Line(Kind.PROSE, "It adopts three pods."),
    Line(Kind.COMMAND, "$ kubectl apply -f escrow.yaml"),
    Line(Kind.OUTPUT, "    kind: EscrowSession"),
    Line(Kind.ROW, "[   1.0s] demo  Active"),
    Line(Kind.HAPPENED, "[   1.1s]   Event escrow/demo WalletsOpen: All three wallets are open"),
    Line(Kind.HAPPENED, "           and up to date."),
    Line(Kind.HAPPENED, "[   2.0s] the customer pays 1.5 XMR"),
    Line(Kind.COMMAND, "$ kubectl get escrow -n demo"),
    Line(Kind.OUTPUT, "NAME   PHASE"),
    Line(Kind.COMMAND, "$ kubectl get escrow,pods -n demo"),
    Line(Kind.OUTPUT, "NAME   READY"),
]


def test_it_begins_with_the_first_session_and_leaves_details_out() -> None:
    assert telling(LINES) == [
        "\033[1m── 3. An EscrowSession \033[0m",
        "$ kubectl apply -f escrow.yaml",
        "[   1.0s] demo  Active",
        "[   2.0s] the customer pays 1.5 XMR",
        "$ kubectl get escrow -n demo",
        "NAME   PHASE",
    ]


def test_the_picture_loads_nothing(tmp_path: Path) -> None:
    file = tmp_path / "demo.svg"
    save(LINES, file)
    text = file.read_text()
    assert "customer" in text
    assert "url(http" not in text.replace('"', "")
    assert "@font-face" not in text


def test_the_same_lines_are_the_same_picture(tmp_path: Path) -> None:
    first, second = tmp_path / "1.svg", tmp_path / "2.svg"
    save(LINES, first)
    save(LINES, second)
    assert first.read_bytes() == second.read_bytes()
