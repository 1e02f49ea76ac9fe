"""Runs the commands about running clusters: ``ps``, ``exec`` and ``shell``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import Exit, UsageError
from ..report.output import say
from .parser import Parser


def add_ps(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        choices=("table", "wide", "json", "yaml", "name"),
        default="table",
        help="what to print: wide: nodes and clients too; name: only what exec takes (default: table)",
    )
    add_cluster_choice(parser)


def ps(args: argparse.Namespace) -> int:
    """Lists the running clusters and their Pods."""
    import shutil

    from ..report.report_json import dump_json, dump_yaml
    from ..run.clusters import find_running
    from ..run.listing import list_names, list_text, list_values

    running = find_running()
    if args.cluster:
        running = [one for one in running if args.cluster in (one.topology, str(one.pid))]
        if not running:
            raise UsageError(f"no cluster is running as {args.cluster!r} (podwire ps lists them)")
    if args.output in ("json", "yaml"):
        values = {"clusters": list_values(running)}
        say(dump_json(values) if args.output == "json" else dump_yaml(values))
    elif args.output == "name":
        say(list_names(running))
    elif not running:
        say("No cluster is running (podwire up TARGET starts one, podwire TARGET --keep one that stays).\n")
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        say(list_text(running, wide=args.output == "wide", width=width))
    return Exit.OK


# --- exec and shell ---------------------------------------------------------------------------------------


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        metavar="NAME",
        help="a Pod (name, namespace/name, or deploy/NAME: its first), a node or an external client",
    )


def add_cluster_choice(parser: argparse.ArgumentParser, default: str = "") -> None:
    parser.add_argument(
        "--cluster", default=default, metavar="NAME|PID", help="which cluster, when several are running"
    )


def _add_place(parser: argparse.ArgumentParser, default: str = "") -> None:
    add_cluster_choice(parser, default)
    parser.add_argument(
        "-n", "--namespace", default=default, metavar="NAMESPACE", help="the namespace of the Pod"
    )


def _add_terminal(parser: argparse.ArgumentParser, default: object = False) -> None:
    parser.add_argument(
        "-i",
        "--stdin",
        action="store_true",
        default=default,
        help="as kubectl has it: the command gets this standard input, with or without -i",
    )
    parser.add_argument(
        "-t", "--tty", action="store_true", default=default, help="give the command a terminal of its own"
    )


def _add_container(parser: argparse.ArgumentParser, default: str = "") -> None:
    parser.add_argument(
        "-c",
        "--container",
        default=default,
        metavar="CONTAINER",
        help="a container of the Pod, as kubectl has it: all of them share the Pod's network namespace",
    )


def add_exec(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="-- COMMAND …", help="the command and its arguments"
    )
    _add_place(parser)
    _add_container(parser)
    _add_terminal(parser)


def add_shell(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    _add_place(parser)


def _cut(words: list[str]) -> tuple[list[str], list[str]]:
    """Returns the options before "--", and the command after it. Without it, all is the command."""
    if not words or not words[0].startswith("-"):
        return [], words
    cut = words.index("--") if "--" in words else len(words)
    return words[:cut], words[cut + 1 :]


def _exec_options() -> Parser:
    parser = Parser(prog="podwire exec", usage=argparse.SUPPRESS, add_help=False)
    _add_place(parser, default=argparse.SUPPRESS)
    _add_container(parser, default=argparse.SUPPRESS)
    _add_terminal(parser, default=argparse.SUPPRESS)
    return parser


def exec_(args: argparse.Namespace) -> int:
    """Runs a command in a Pod, node or client of a running cluster."""
    options, command = _cut(args.command)
    if options:  # behind NAME, where kubectl takes them too
        args = _exec_options().parse_args(options, args)
    if not command:
        raise UsageError("exec needs a command: podwire exec NAME -- COMMAND …")
    return _enter(args, command, args.container)


def shell(args: argparse.Namespace) -> int:
    """Runs the user's shell in a Pod, node or client of a running cluster, with a prompt that names both."""
    return _enter(args, [])


def _enter(args: argparse.Namespace, command: list[str], container: str = "") -> int:
    """Runs ``command``, or the user's shell if it is empty, in the place that is named; a Pod must have
    ``container``, if one is named.
    """
    from ..run.clusters import choose
    from ..run.entering import Setting, execute
    from ..run.shells import host_name, prompt, start_shell

    with _nothing_typed_ahead():
        running, netns = choose(args.name, args.cluster, args.namespace, container)
        host = host_name(netns)
        if command:
            return execute(running.init, netns, command, Setting(host, terminal=args.tty))
        text = prompt(host, running.topology)
        start = start_shell(os.environ.get("SHELL") or "/bin/sh", text, os.environ)
        setting = Setting(host, os.isatty(0), start.environment, start.files)
        return execute(running.init, netns, start.argv, setting)


@contextmanager
def _nothing_typed_ahead() -> Iterator[None]:
    """Drops what was typed or pasted ahead where nothing was entered: it was meant for the Pod, and would run
    on this machine.
    """
    try:
        yield
    except UsageError as error:
        if not os.isatty(0):
            raise
        import platform
        import termios

        termios.tcflush(0, termios.TCIFLUSH)
        raise UsageError(f"{error}. Nothing was entered: this is still {platform.node()}") from None
