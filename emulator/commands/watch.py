"""Runs ``watch``: requests are sent steadily through a running cluster, on a time line with its events."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from ..errors import UsageError
from .running import add_cluster_choice

_MOST_RATE, _MOST_TIMEOUT = 1000, 60
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def add_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "rest",
        nargs="*",
        default=[],
        metavar="FROM TO",
        help="who dials, as podwire exec names it, and what: service/web:80, svc/NAMESPACE/web:http, "
        "pod/web-1:8080, node/worker-1:30080, lb/web:80, IP:PORT; several pairs are several flows",
    )
    parser.add_argument(
        "--rate",
        type=_number(1 / 60, _MOST_RATE),
        default=10.0,
        metavar="N",
        help="requests a second of each flow (default: 10)",
    )
    parser.add_argument(
        "--protocol", choices=("tcp", "udp"), default="tcp", help="the protocol (default: tcp)"
    )
    parser.add_argument(
        "--keep-alive",
        action="store_true",
        help="send over one connection (udp: from one port) as long as it answers",
    )
    parser.add_argument(
        "--timeout",
        type=_number(0.01, _MOST_TIMEOUT),
        default=1.0,
        metavar="SECONDS",
        help="a request without an answer for so long is lost (default: 1)",
    )
    parser.add_argument(
        "--duration",
        type=_duration,
        default=0.0,
        metavar="TIME",
        help="end after so long: 30s, 2m (default: at Ctrl-C)",
    )
    parser.add_argument(
        "--max-lost",
        type=_count,
        metavar="N",
        help="exit code 1 if more than N requests are lost",
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("table", "wide", "json"),
        default="table",
        help="what to print: good requests a second at a time; wide: every request; json: an object a line "
        "(default: table)",
    )
    parser.add_argument(
        "-n", "--namespace", default="", metavar="NAMESPACE", help="the namespace of Pods and Services"
    )
    add_cluster_choice(parser)


def _number(least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or not least <= float(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a number from {least:.2g} to {most}, is {text!r}")
        return float(text)

    return read


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more, is {text!r}")
    return int(text)


def _duration(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|)", text)
    if match is None or not float(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: 30s, 2m, 1h")
    return float(match[1]) * _UNITS[match[2]]


def watch(args: argparse.Namespace) -> int:
    """Sends requests through a running cluster, and prints the time line."""
    from ..run.clusters import choose_cluster
    from ..run.watching import Wanted, watch

    words = args.rest
    if not words or len(words) % 2:
        raise UsageError("watch needs who dials and what: podwire watch client-a service/web:80")
    wanted = Wanted(
        flows=tuple(zip(words[::2], words[1::2], strict=True)),
        namespace=args.namespace,
        protocol="UDP" if args.protocol == "udp" else "TCP",
        rate=args.rate,
        timeout=args.timeout,
        duration=args.duration,
        keep_alive=args.keep_alive,
        most_lost=args.max_lost,
        form=args.output,
    )
    return watch(choose_cluster(args.cluster), wanted)
