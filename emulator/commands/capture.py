"""Runs ``capture``: the frames of a running cluster, as they come."""

from __future__ import annotations

import argparse
import os

from ..errors import UsageError
from .parser import STANDARD_OUTPUT, file_name
from .running import add_cluster_choice


def add_capture(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "place",
        metavar="PLACE",
        help="NAME or NAME/INTERFACE, several with commas: worker-1/eth0,client-a; NAME as exec takes it",
    )
    parser.add_argument(
        "rest", nargs="*", default=[], metavar="FILTER", help="which frames, as tcpdump has it: tcp port 80"
    )
    parser.add_argument(
        "-w",
        "--write",
        metavar="FILE",
        type=file_name,
        help="write pcapng to a file, or - for standard output (default: print a line for each frame)",
    )
    parser.add_argument(
        "-c", "--count", type=_count, default=0, metavar="N", help="end after N frames (default: at Ctrl-C)"
    )
    parser.add_argument("-n", "--namespace", default="", metavar="NAMESPACE", help="the namespace of the Pod")
    add_cluster_choice(parser)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, is {text!r}")
    return int(text)


def capture(args: argparse.Namespace) -> int:
    """Captures frames of a running cluster."""
    from ..report.files import open_file
    from ..run import capturing
    from ..run.clusters import choose_cluster

    running = choose_cluster(args.cluster)
    places = capturing.find_places(
        args.place, running.names, running.members, running.topology, args.namespace
    )
    if not places:
        raise UsageError("capture needs a place: podwire capture worker-1/eth0")
    program = capturing.compile_filter(" ".join(args.rest)) if args.rest else None
    if args.write == STANDARD_OUTPUT and os.isatty(1):
        raise UsageError("pcapng is no text for a terminal: | wireshark -k -i -, or -w FILE")
    # opened before namespaces are entered, where it would be another file
    out = open_file(args.write or STANDARD_OUTPUT)
    return capturing.capture(running, places, program, out, text=args.write is None, most=args.count)
