"""`python -m bench`: measures Gobbler and its peer and prints a table."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import driver, machine, report
from bench.errors import BenchError
from bench.runner import Outcome, measure
from bench.servers import Gobbler, Nats, Server
from bench.shapes import SHAPES, Shape

RESULTS = Path(__file__).with_name("results.json")
SHORT_SCALE = 0.02


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; ends the process with status 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Gobbler beside nats-server with JetStream."
    )
    names = [shape.name for shape in SHAPES]
    parser.add_argument(
        "--runs", type=int, metavar="N", help="runs of each shape and server (5; with --short 1)"
    )
    parser.add_argument(
        "--short", action="store_true", help="a small form: does everything work? Rough figures"
    )
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}"
    )
    parser.add_argument("--no-peer", action="store_true", help="measure Gobbler alone")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument(
        "--output", type=Path, help="where the JSON goes (bench/results.json; with --short nowhere)"
    )
    options = parser.parse_args(arguments)
    if options.runs is None:
        options.runs = 1 if options.short else 5
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    if options.output is None and not options.short:
        options.output = RESULTS
    return options


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _chosen(options: argparse.Namespace) -> list[Shape]:
    chosen = [shape for shape in SHAPES if options.only is None or shape.name in options.only]
    return [shape.scaled(SHORT_SCALE) for shape in chosen] if options.short else chosen


def bench(options: argparse.Namespace) -> None:
    """Measure, print and write what the options ask for.

    Raises:
        BenchError: a tool is missing, or a run failed.
    """
    driver.build()
    place = machine.describe()
    servers: list[type[Server]] = [Gobbler]
    if not options.no_peer:
        servers.append(Nats)
        place["peer"] = f"{Nats.version()} with JetStream on file storage"
    outcomes: list[Outcome] = []
    for shape in _chosen(options):
        outcomes += measure(shape, servers, options.runs, _tell)
    if options.markdown:
        print(report.markdown(outcomes, place))
    else:
        print(f"{report.text(outcomes)}\n\nmedian of {options.runs}; {report.summary(place)}")
    if options.output:
        document = report.document(outcomes, place, options.runs)
        options.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """The command: exit status 0 when everything was measured, whether targets are met or not; else 1."""
    try:
        bench(parse())
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
