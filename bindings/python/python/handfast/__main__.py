"""The `handfast` command: `handfast ...` and `python -m handfast ...`."""

from __future__ import annotations

import signal
import sys

from . import _native


def main() -> None:
    """Run the command line of this process and exit with its code."""
    # Else Python's own handler would raise KeyboardInterrupt after an orderly stop.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_native.cli_main(["handfast", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
