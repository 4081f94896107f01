"""The entry point of an operator that agrees with others on who leads: ``python -m escrow_operator.candidate``.

The chart starts several of them by this name, which images of versions without a lease do not have: under a new chart
those end at once instead of acting beside each other.
"""

from __future__ import annotations

import sys

from escrow_operator.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
