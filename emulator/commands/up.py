"""Runs the commands of a cluster that lives: ``up``, ``down`` and ``kubeconfig``."""

from __future__ import annotations

import argparse

from ..errors import Exit
from .arguments import add_cluster, add_commands, add_kube_proxy, add_tools
from .parser import file_name
from .running import add_cluster_choice
from .targets import find_program, load_targets


def add_up(parser: argparse.ArgumentParser) -> None:
    add_cluster(parser)
    parser.add_argument(
        "--kubeconfig",
        type=file_name,
        metavar="FILE",
        help="where the kubeconfig is written (default: a file of its own, whose path is printed)",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=0,
        metavar="N",
        help="port of the API at 127.0.0.1 (default: a free one)",
    )
    parser.add_argument(
        "-d", "--detach", action="store_true", help="return when the cluster is ready; podwire down ends it"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print the path of the kubeconfig alone")
    add_commands(parser)
    add_kube_proxy(parser)
    add_tools(parser)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


def up(args: argparse.Namespace) -> int:
    """Builds the cluster of the targets, and serves its API until it is told to end."""
    from ..run.up import Settings, detach, run_up

    if args.detach:
        return detach()
    settings = Settings(
        kubeconfig=args.kubeconfig,
        port=args.port,
        quiet=args.quiet,
        seed=args.seed,
        proxy_mode=args.proxy_mode,
        run=args.run,
        iptables=args.iptables or "",
        verbose=args.verbose,
        program=find_program(args),
        release=args.kube_proxy_version,
    )
    return run_up(load_targets(args), settings)


def add_down(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="?", default="", metavar="NAME|PID", help="which cluster, when several are running"
    )
    add_cluster_choice(parser)


def down(args: argparse.Namespace) -> int:
    """Ends a cluster that stays up, and returns when nothing of it is left."""
    from ..run.up import end_cluster

    end_cluster(args.name or args.cluster)
    return Exit.OK


def add_kubeconfig(parser: argparse.ArgumentParser) -> None:
    add_cluster_choice(parser)


def kubeconfig(args: argparse.Namespace) -> int:
    """Prints the path of a running cluster's kubeconfig."""
    from ..report.output import say
    from ..run.up import find_kubeconfig

    say(f"{find_kubeconfig(args.cluster)}\n")
    return Exit.OK
