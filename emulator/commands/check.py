"""Runs ``check``: flows are sent through a running cluster, and judged by its objects as they are then."""

from __future__ import annotations

import argparse

from .arguments import add_captures, add_derive, add_files, add_looks, add_warnings
from .running import add_cluster_choice


def add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "flowchecks",
        nargs="*",
        default=[],
        metavar="FLOWCHECK",
        help="a file with FlowChecks, - for standard input, or the name of a FlowCheck in the cluster "
        "(default: the flows that the objects call for)",
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("table", "wide", "journeys", "json", "yaml"),
        default="table",
        help="what to print, as podwire run has it (default: table)",
    )
    add_files(parser)
    add_captures(parser, "in a directory CLUSTER-check")
    add_derive(parser)
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="print nothing where everything is as expected"
    )
    add_looks(parser)
    add_warnings(parser)
    add_cluster_choice(parser)


def check(args: argparse.Namespace) -> int:
    """Sends flows through a running cluster, and prints the verdicts."""
    from ..run.checking import Wanted, check
    from ..run.clusters import choose_cluster
    from ..run.codes import known_codes

    wanted = Wanted(
        words=tuple(args.flowchecks),
        derive=args.derive,
        output=args.output,
        json=args.json,
        junit=args.junit,
        html=args.html,
        captures=args.captures,
        quiet=args.quiet,
        strict=args.strict,
        ignore=known_codes(args.ignore),
    )
    return check(choose_cluster(args.cluster), wanted)
