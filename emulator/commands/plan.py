"""Runs ``plan``: the network as a bash script, or the rules with their origins."""

from __future__ import annotations

import argparse
from itertools import pairwise

from ..errors import Exit
from ..report.output import complain, say
from .arguments import add_cluster, add_warnings
from .targets import play_targets


def add_plan(parser: argparse.ArgumentParser) -> None:
    add_cluster(parser)
    parser.add_argument(
        "--origins",
        action="store_true",
        help="print the rules instead, each with the object and the field that caused it",
    )
    add_warnings(parser)


def plan(args: argparse.Namespace) -> int:
    """Prints the plan of the targets' cluster, or the origins of its rules."""
    from ..plan.shell import render_shell
    from ..proxy.backends import backend_of
    from ..report.prose_of_notices import say_notice
    from ..report.prose_of_warnings import tell_warning
    from ..run.codes import known_codes
    from ..schedule.planner import plan_script, plan_script_change

    ignore = known_codes(args.ignore)
    scenario = play_targets(args)
    state = scenario.state
    found = dict.fromkeys(one for moment in scenario.moments for one in moment.state.warnings)
    warnings = [one for one in found if one.code not in ignore]
    code = Exit.FLOW_FAILED if args.strict and warnings else Exit.OK
    for notice in (*map(tell_warning, warnings), *map(say_notice, state.notices)):
        complain(notice)
    if args.origins:
        from ..report.origins import render_origins

        say(render_origins(state))
        return code
    changes = [
        (step.name, plan_script_change(old.state, step.state)) for old, step in pairwise(scenario.moments)
    ]
    note = backend_of(state).layout
    say(render_shell(plan_script(state), title=f"The network of {state.name}", note=note, changes=changes))
    return code
