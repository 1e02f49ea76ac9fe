"""Runs ``run``: the network is built, every flow sent, and the verdicts printed."""

from __future__ import annotations

import argparse

from ..errors import UsageError
from .arguments import (
    add_captures,
    add_cluster,
    add_commands,
    add_derive,
    add_files,
    add_kube_proxy,
    add_looks,
    add_tools,
    add_warnings,
)
from .targets import find_program, load_targets, source_of_targets


def add_run(parser: argparse.ArgumentParser) -> None:
    add_cluster(parser)
    parser.add_argument(
        "-o",
        "--output",
        choices=("table", "wide", "journeys", "json", "yaml"),
        default="table",
        help="what to print (default: table; wide: every flow; journeys: every hop of every flow)",
    )
    add_files(parser)
    add_captures(parser, "a directory per topology")
    parser.add_argument(
        "--all-pairs",
        action="store_true",
        help="TCP from every Pod to every Pod and Service instead of the flows that the objects call for",
    )
    add_derive(parser)
    parser.add_argument("--keep", action="store_true", help="stay up after the verdicts, until Ctrl-C")
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="print nothing where everything is as expected"
    )
    add_looks(parser)
    add_warnings(parser)
    add_commands(parser)
    add_kube_proxy(parser)
    add_tools(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the cluster of the targets, and prints the verdicts."""
    from ..controllers.settle import play
    from ..run.codes import known_codes
    from ..run.run import Options, run_cluster

    ignore = known_codes(args.ignore)
    inventory = load_targets(args)
    program = find_program(args)
    scenario = play(
        inventory,
        seed=args.seed,
        proxy_mode=args.proxy_mode,
        run=args.run,
        program=program,
        release=args.kube_proxy_version,
    )
    options = Options(
        output=args.output,
        json=args.json,
        junit=args.junit,
        html=args.html,
        captures=args.captures,
        source=source_of_targets(args, scenario),
        all_pairs=args.all_pairs,
        keep=args.keep,
        quiet=args.quiet,
        iptables=args.iptables or "",
        verbose=args.verbose,
        strict=args.strict,
        ignore=ignore,
    )
    if scenario.rolls:
        from ..run.rollouts import run_rollouts  # with asyncio, which is slow to import

        if program:
            raise UsageError("--kube-proxy does not go with a FlowCheck that rolls out: podwire up takes it")
        return run_rollouts(inventory, scenario, options, proxy_mode=args.proxy_mode, run=args.run)
    return run_cluster(scenario, options)
