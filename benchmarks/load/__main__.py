"""`python -m benchmarks.load`: Locust with this folder's users; `--help` explains the load."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from aircheck.load.options import HELP, add_options


def main() -> None:
    """Explains, or becomes Locust."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        parser = argparse.ArgumentParser(
            prog="python -m benchmarks.load",
            usage="%(prog)s [--headless] [--users N] [options]",
            description=HELP,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_options(parser)
        parser.print_help()
        return
    locustfile = Path(__file__).with_name("locustfile.py")
    os.execv(sys.executable, [sys.executable, "-m", "locust", "-f", str(locustfile), *sys.argv[1:]])


if __name__ == "__main__":
    main()
