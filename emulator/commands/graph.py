"""Runs ``graph``: a picture of the networks."""

from __future__ import annotations

import argparse

from ..errors import Exit
from ..report.output import complain, say
from .arguments import add_input
from .targets import load_targets


def add_graph(parser: argparse.ArgumentParser) -> None:
    add_input(parser)
    parser.add_argument(
        "-o",
        "--output",
        choices=("mermaid", "dot", "svg"),
        default="mermaid",
        help="what to print (default: mermaid, which GitHub draws; svg: drawn by Graphviz' dot)",
    )


def graph(args: argparse.Namespace) -> int:
    """Prints the picture of the targets' cluster."""
    from ..controllers.settle import play
    from ..report.prose_of_notices import say_notice
    from ..run.graph import render_graph

    state = play(load_targets(args), seed=args.seed).state
    for notice in state.notices:
        complain(say_notice(notice))
    say(render_graph(state, args.output))
    return Exit.OK
