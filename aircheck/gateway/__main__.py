"""`python -m aircheck.gateway --ready-fd N`: the server as a child of another program (aircheck.server.Server).

Settings come from the environment. When it is ready, or cannot start, a line of JSON is written to the descriptor.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from dataclasses import asdict

from rich.console import Console

from aircheck.gateway.access import TokenFileError
from aircheck.gateway.errors import StartError
from aircheck.gateway.server import Addresses, serve
from aircheck.inference.memory import map_large_blocks
from aircheck.policy.errors import PolicyError
from aircheck.settings import Settings, SettingsError
from aircheck.triton import TritonError
from aircheck.triton_log import LogPrinter


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ready-fd", type=int, required=True)
    parser.add_argument("--log", choices=("none", "short", "whole"), default="none")
    arguments = parser.parse_args()
    map_large_blocks()  # verdicts are kept, and windows come and go between them
    printer = LogPrinter(Console(stderr=True, highlight=False), arguments.log == "whole")

    def tell(fields: dict[str, object]) -> None:
        with os.fdopen(arguments.ready_fd, "w") as file:
            file.write(json.dumps(fields) + "\n")

    def on_ready(addresses: Addresses) -> None:
        tell(asdict(addresses))

    try:
        settings = Settings.load()
        if arguments.log != "whole":
            settings = settings.model_copy(update={"log_level": "warning"})
        asyncio.run(serve(settings, on_ready, None if arguments.log == "none" else printer))
    except (SettingsError, StartError, TritonError, TokenFileError, PolicyError) as error:
        tell({"error": str(error)})
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
