"""The command line: reads the options, and runs the program under a Worker."""

from __future__ import annotations

import argparse
from typing import NoReturn

from structmode import Worker

from .app import PageViews

LEVELS = ["debug", "info", "warning", "error"]


def main() -> NoReturn:
    """Run the program until it is told to stop; the Worker ends the process with an exit code."""
    options = parse_options()
    app = PageViews(options.database, options.host, options.port)
    worker = Worker(app, backend=options.backend, loglevel=options.loglevel, daemon=True)
    worker.execute_from_commandline()


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.pageviews", description="Count page views, and watch them live."
    )
    parser.add_argument(
        "--backend",
        choices=["asyncio", "uvloop", "trio"],
        default="asyncio",
        help="the event loop",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=port, default=8080, help="the port; 0 takes a free one")
    parser.add_argument("--database", default="pageviews.db", help="the file to keep counts in")
    parser.add_argument("--loglevel", choices=LEVELS, default="info", help="how much to log")
    return parser.parse_args()


def port(text: str) -> int:
    """Read the number of a port."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is no port: 0 to 65535")
    return number


if __name__ == "__main__":
    main()
