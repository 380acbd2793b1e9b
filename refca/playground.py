"""Draw, erase and change digits in a browser and watch the cells, served on this machine or from one exported file.

The server listens on the loopback address only and serves the page's own files and the weights.
Source: `spec/playground.md`.
"""

from __future__ import annotations

import sys
import webbrowser
from argparse import ArgumentParser, Namespace
from pathlib import Path
from threading import Thread

from refca.cli import Parser, run_program
from refca.playground_page.catalogue import make_catalogue
from refca.playground_page.export import export
from refca.playground_page.server import serve


def main(arguments: list[str] | None = None) -> int:
    return run_program(parser(), play, arguments)


def play(arguments: Namespace) -> int:
    """Serve the page, or write it as one file."""
    catalogue = make_catalogue(arguments.weights)
    if arguments.export:
        export(arguments.export, catalogue)
        print(f"{arguments.export} written; it needs no server and no network")
        return 0
    with serve(catalogue, arguments.port) as (server, address):
        print(f"the playground is at {address} (Ctrl-C stops it)", flush=True)
        if not arguments.no_browser:
            # a browser in the terminal returns when it is left, and until then needs the server
            Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        server.serve_forever()
    return 0


def parser() -> ArgumentParser:
    """Return the parser of the command line."""
    parser = Parser("playground", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--weights",
        metavar="RUN",
        type=Path,
        action="append",
        default=[],
        help="also show your own model, a run directory or a weights file; can be repeated",
    )
    parser.add_argument(
        "--port", type=int, default=0, help="TCP port on 127.0.0.1, from 0 to 65535; default: 0, any free port"
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser, only print the address")
    parser.add_argument(
        "--export", metavar="FILE.html", type=Path, help="write one self-contained file instead of serving"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
