"""``python -m escrow_cli``, ``kubectl-escrow`` and ``kubectl escrow``."""

from escrow_cli.main import run

if __name__ == "__main__":
    run()
