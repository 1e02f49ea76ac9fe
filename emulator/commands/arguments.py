"""Adds the arguments that several commands share."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import get_args

from ..kernel.environment import DEFAULT_TOPOLOGY
from ..objects.proxymodes import ProxyMode
from ..objects.releases import CURRENT, RELEASES
from ..report.output import COLOR
from .parser import file_name


def add_cluster(parser: argparse.ArgumentParser) -> None:
    add_input(parser)
    parser.add_argument(
        "--proxy-mode",
        metavar="MODE",
        choices=get_args(ProxyMode),
        help="kube-proxy's mode, whatever the input says",
    )


def add_input(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help=f"topology, file, directory or - (default: {DEFAULT_TOPOLOGY})",
    )
    parser.add_argument(
        "-f", "--filename", action="append", default=[], metavar="TARGET", help="a target, as kubectl has it"
    )
    parser.add_argument(
        "-k",
        "--kustomize",
        action="append",
        default=[],
        metavar="DIR",
        help="a kustomization: it is built and read",
    )
    parser.add_argument(
        "-R", "--recursive", action="store_true", help="read the directories below a directory as well"
    )
    parser.add_argument(
        "-n",
        "--namespace",
        type=_namespace,
        default="",
        metavar="NAMESPACE",
        help="the namespace of objects that name none, as kubectl apply -n has it (default: default)",
    )
    parser.add_argument(
        "-l",
        "--selector",
        default="",
        metavar="SELECTOR",
        help="read only objects with these labels: app=web,tier!=cache (Nodes and FlowChecks always)",
    )
    parser.add_argument(
        "--seed",
        type=_seed,
        default=0,
        metavar="N",
        help="seed of everything that is drawn: Pod names, node ports, cookies (default: 0)",
    )


def _directory(text: str) -> Path | None:
    if not text:
        raise argparse.ArgumentTypeError("names no directory (none: no evidence is written)")
    return None if text == "none" else Path(text)


def _namespace(text: str) -> str:
    if text and not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a namespace")
    return text


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more, is {text!r}")
    return int(text)


def add_derive(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--derive",
        action="store_true",
        help="send the flows that the objects call for beside those of FlowChecks, not only these",
    )


def add_looks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--color",
        choices=tuple(COLOR),
        help="colours (default: auto: on a terminal, as NO_COLOR and FORCE_COLOR have it)",
    )


def add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", metavar="FILE", type=file_name, help="write the report as JSON as well")
    parser.add_argument("--junit", metavar="FILE", type=file_name, help="write a JUnit XML report as well")
    parser.add_argument(
        "--html",
        metavar="FILE",
        type=file_name,
        help="write the report as one HTML page, with pictures, as well",
    )


def add_captures(parser: argparse.ArgumentParser, layout: str) -> None:
    parser.add_argument(
        "--captures",
        metavar="DIR",
        type=_directory,
        default=Path("captures"),
        help=f"where evidence goes, {layout}; none: nowhere (default: captures)",
    )


def add_commands(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run",
        action="store_true",
        help="run the commands of containers that the annotation podwire.dev/run names, read-only and "
        "without rights, instead of echo servers",
    )


def add_kube_proxy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kube-proxy",
        type=file_name,
        metavar="PATH",
        help="run this real kube-proxy on every node, instead of making its rules",
    )
    parser.add_argument(
        "--kube-proxy-version",
        metavar="VERSION",
        choices=tuple(RELEASES),
        default="",
        help=f"the release that podwire's rules are of: {', '.join(RELEASES)} (default: {CURRENT})",
    )


def add_warnings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--strict", action="store_true", help="warnings about the objects count as failures (exit code 1)"
    )
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="CODE",
        help="leave out warnings of these codes (PW001,PW005); podwire doc warnings lists them",
    )


def add_tools(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--iptables",
        choices=("nft", "legacy"),
        help="flavour of the iptables tools (default: nft where it works)",
    )
    parser.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="say where the time goes; -vv: also print each plan operation",
    )
