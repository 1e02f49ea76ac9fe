"""Parses the command line, runs the command, and returns the exit code. Everything heavy is imported by the
command that needs it.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import signal
import sys
import textwrap
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from . import __version__
from .commands import about, capture, completion, running
from .commands.parser import Command, Parser, add_nothing
from .errors import Exit, InputError, PodwireError, UsageError
from .kernel.environment import DEFAULT_TOPOLOGY, REINSTALL, TOPOLOGIES, prepare_path
from .kernel.limits import explain
from .kernel.signals import end_at_once, prepare_signals
from .objects.proxymodes import ProxyMode
from .report.output import COLOR, Attempts, complain, prepare_streams, say, unread_by_runner

if TYPE_CHECKING:
    from .cluster.scenario import Scenario  # at run time they would cost every --help
    from .objects.config import Inventory
    from .verdicts.modes import Comparison


_MORE = "Options of a run: podwire run --help"
_EPILOG = f"""\
Targets: the name of a topology (podwire list), a .py or .yaml file, a directory
of manifests, or - for standard input; several are one cluster. None means
{DEFAULT_TOPOLOGY}.

Exit codes: 0 all as expected; 1 some flow is not; 2 bad input or usage;
3 this machine lacks something (named); 130, 143 or 129 interrupted by Ctrl-C,
SIGTERM or SIGHUP.

Examples:
  podwire                                 the default topology
  podwire source-address -o wide          whose address arrives under
                                          externalTrafficPolicy
  kubectl get nodes,pods,svc,endpointslices -A -o yaml | podwire -
  podwire diff deploy/                    what changes for which Service in
                                          another mode of kube-proxy
  podwire plan hairpin > hairpin.sh       the same network as a bash script
  podwire three-networks --keep           stay up; then, elsewhere:
                                          podwire exec client-a -- ip route

{_MORE}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line ``argv`` (default: the process' own); returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if argv is None:
            prepare_signals()
            prepare_streams()
            prepare_path()
            # a process of seconds that holds all objects of a cluster to its end: loading and planning large
            # ones takes a fifth less, and the default topology 8 % less of the processor (1.75 s, not 1.89)
            gc.disable()
        if completion.WANTED in os.environ and argv is None:
            completion.complete(*make_parsers())
        args = _parse(words)
        if color := getattr(args, "color", None):
            os.environ.update(COLOR[color])
        code: int = args.function(args)
        return code
    except PodwireError as error:
        complain(str(error))
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        if argv is None:
            end_at_once()
        start = "\n" if sys.stderr.isatty() else ""  # the terminal may have written ^C into the line
        print(f"{start}podwire: interrupted; everything is cleaned up", file=sys.stderr)
        return 128 + getattr(interrupt, "number", signal.SIGINT)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == __name__.split(".")[0]:
            raise
        print(f"podwire: the Python package {error.name} is missing: {REINSTALL}", file=sys.stderr)
        return Exit.MACHINE_LACKS
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        complain(str(explained))
        return explained.exit_code
    finally:
        if argv is None:
            end_at_once()


# --- arguments --------------------------------------------------------------------------------------------


def _commands() -> dict[str, Command]:
    """Returns the commands, in the order of ``--help``."""
    return {
        "run": Command(
            "build the network, send every flow, print the verdicts (the default command)", _add_run, _run
        ),
        "plan": Command(
            "print a bash script that builds the same network with ip, bridge, sysctl, iptables-restore and "
            "nft",
            _add_plan,
            _plan,
        ),
        "diff": Command(
            "run the same flows in several modes of kube-proxy and say what changes for each Service",
            _add_diff,
            _diff,
        ),
        "graph": Command(
            "print a picture of the networks with their machines, links, addresses and Services",
            _add_graph,
            _graph,
        ),
        "list": Command(
            "the topologies that come with podwire, each with its question", add_nothing, about.list_
        ),
        "doctor": Command(
            "which modes of kube-proxy run here, and what this machine lacks for the others",
            about.add_doctor,
            about.doctor,
        ),
        "ps": Command("running clusters and their Pods", running.add_ps, running.ps),
        "exec": Command(
            "run a command in a Pod, node or client of a running cluster", running.add_exec, running.exec_
        ),
        "shell": Command(
            "a shell in a Pod, node or client of a running cluster", running.add_shell, running.shell
        ),
        "capture": Command(
            "frames of a running cluster, as they come: into a pcapng file, or into Wireshark",
            capture.add_capture,
            capture.capture,
        ),
        "completion": Command(
            "print what bash, zsh or fish needs to complete command lines",
            completion.add_completion,
            completion.completion,
        ),
        "version": Command("print the release of podwire", add_nothing, about.version),
    }


def make_parsers() -> tuple[Parser, dict[str, Parser]]:
    """Returns the parser of the command line, and those of its commands by name."""
    parser = Parser(
        prog="podwire",
        description="A packet-level emulator of the Kubernetes network.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"podwire {__version__}")
    sub = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    parsers: dict[str, Parser] = {}
    for name, (text, add, function) in _commands().items():
        command = parsers[name] = sub.add_parser(
            name,
            help=text,
            description=textwrap.fill(
                text[0].upper() + text[1:] + ".", 78
            ),  # the epilog is not to be wrapped
            epilog=_EPILOG.partition(_MORE)[0] if name == "run" else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add(command)
        command.set_defaults(function=function)
    return parser, parsers


def _parse(words: list[str]) -> argparse.Namespace:
    parser, parsers = make_parsers()
    if words[:1] == ["help"]:  # as kubectl and git have it
        words = [*(word for word in words[1:2] if word in parsers), "--help"]
    # "podwire TARGET…" is "podwire run TARGET…": everything that is not a command belongs to run.
    if not words or (words[0] not in parsers and words[0] not in ("-h", "--help", "--version")):
        _check_first(words, parsers)
        words = ["run", *words]
    args, rest = parser.parse_known_args(words)
    if rest and hasattr(args, "rest") and not any(word.startswith("-") for word in rest):
        args.rest, rest = [*args.rest, *rest], []  # argparse takes positional words at one place only
    if rest:
        parsers[words[0]].error(f"unrecognized arguments: {' '.join(rest)}{_hint(words[0], rest, parsers)}")
    return args


def _check_first(words: Sequence[str], parsers: Mapping[str, Parser]) -> None:
    """Raises UsageError where the first of ``words`` is no target and misspells a command."""
    word = words[0] if words else ""
    close = get_close_matches(word, parsers, n=1, cutoff=0.65) if len(word) < 20 and word[:1] != "-" else []
    if not close or Path(word).exists():
        return
    from .load.targets import topology_names

    if word not in topology_names(TOPOLOGIES):
        raise UsageError(
            f"{word!r} is neither a command nor a topology, a file or a directory: did you mean podwire "
            f"{close[0]}? (see podwire --help, podwire list)"
        )


def _hint(command: str, words: Sequence[str], parsers: Mapping[str, Parser]) -> str:
    """Returns where the first option among ``words``, which ``command`` does not have, belongs."""
    option = next((word.partition("=")[0] for word in words if word.startswith("--")), "")
    if (command, option) == ("diff", "--proxy-mode"):
        return ": diff compares several modes, --modes iptables,nftables"
    having = [name for name, parser in parsers.items() if option in parser._option_string_actions]
    return f": {option} is an option of {', '.join(having)}" if having else ""


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    _add_input(parser)
    parser.add_argument(
        "--proxy-mode",
        metavar="MODE",
        choices=get_args(ProxyMode),
        help="kube-proxy's mode, whatever the input says",
    )


def _add_input(parser: argparse.ArgumentParser) -> None:
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


def _file(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("names no file")
    return Path(text)


def _namespace(text: str) -> str:
    if text and not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a namespace")
    return text


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more, is {text!r}")
    return int(text)


def _add_plan(parser: argparse.ArgumentParser) -> None:
    _add_cluster(parser)
    parser.add_argument(
        "--origins",
        action="store_true",
        help="print kube-proxy's rules instead, each with the object and the field that caused it",
    )
    _add_warnings(parser)


def _add_graph(parser: argparse.ArgumentParser) -> None:
    _add_input(parser)
    parser.add_argument(
        "-o",
        "--output",
        choices=("mermaid", "dot", "svg"),
        default="mermaid",
        help="what to print (default: mermaid, which GitHub draws; svg: drawn by Graphviz' dot)",
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    _add_cluster(parser)
    parser.add_argument(
        "-o",
        "--output",
        choices=("table", "wide", "journeys", "json", "yaml"),
        default="table",
        help="what to print (default: table; wide: every flow; journeys: every hop of every flow)",
    )
    _add_files(parser)
    _add_captures(parser, "a directory per topology")
    parser.add_argument(
        "--all-pairs",
        action="store_true",
        help="TCP from every Pod to every Pod and Service instead of the flows that the objects call for",
    )
    _add_derive(parser)
    parser.add_argument("--keep", action="store_true", help="stay up after the verdicts, until Ctrl-C")
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="print nothing where everything is as expected"
    )
    _add_looks(parser)
    _add_warnings(parser)
    _add_commands(parser)
    _add_tools(parser)


def _add_derive(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--derive",
        action="store_true",
        help="send the flows that the objects call for beside those of FlowChecks, not only these",
    )


def _add_looks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--color",
        choices=tuple(COLOR),
        help="colours (default: auto: on a terminal, as NO_COLOR and FORCE_COLOR have it)",
    )


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", metavar="FILE", type=_file, help="write the report as JSON as well")
    parser.add_argument("--junit", metavar="FILE", type=_file, help="write a JUnit XML report as well")
    parser.add_argument(
        "--html", metavar="FILE", type=_file, help="write the report as one HTML page, with pictures, as well"
    )


def _add_captures(parser: argparse.ArgumentParser, layout: str) -> None:
    parser.add_argument(
        "--captures",
        metavar="DIR",
        type=_directory,
        default=Path("captures"),
        help=f"where evidence goes, {layout}; none: nowhere (default: captures)",
    )


def _add_commands(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run",
        action="store_true",
        help="run the commands of containers that the annotation podwire.dev/run names, read-only and "
        "without rights, instead of echo servers",
    )


def _add_warnings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--strict", action="store_true", help="warnings about the objects count as failures (exit code 1)"
    )
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="CODE",
        help="leave out warnings of these codes (PW001,PW005); docs/warnings.md lists them",
    )


def _add_tools(parser: argparse.ArgumentParser) -> None:
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


def _add_diff(parser: argparse.ArgumentParser) -> None:
    _add_input(parser)
    parser.add_argument(
        "--modes",
        metavar="MODE,MODE…",
        help="what to compare (default: the cluster's own mode and nftables, the default from Kubernetes "
        "1.40 on: KEP-5343)",
    )
    formats = ("table", "wide", "json", "yaml", "markdown")
    parser.add_argument(
        "-o",
        "--output",
        choices=formats,
        default="table",
        help="what to print (default: table; wide: with the packets; markdown: for a pull request)",
    )
    parser.add_argument(
        "--exit-code", action="store_true", help="exit with 1 where any flow differs, known or not"
    )
    _add_derive(parser)
    _add_looks(parser)
    _add_files(parser)
    _add_captures(parser, "a directory per topology and mode")
    _add_warnings(parser)
    _add_commands(parser)
    _add_tools(parser)


# --- commands ---------------------------------------------------------------------------------------------


def _run(args: argparse.Namespace) -> int:
    from .run.codes import known_codes
    from .run.run import Options, run_cluster

    ignore = known_codes(args.ignore)
    scenario = _play(args, run=args.run)
    return run_cluster(
        scenario,
        Options(
            output=args.output,
            json=args.json,
            junit=args.junit,
            html=args.html,
            captures=args.captures,
            source=_source(args, scenario),
            all_pairs=args.all_pairs,
            keep=args.keep,
            quiet=args.quiet,
            iptables=args.iptables or "",
            verbose=args.verbose,
            strict=args.strict,
            ignore=ignore,
        ),
    )


def _play(args: argparse.Namespace, *, run: bool = False) -> Scenario:
    from .controllers.settle import play

    return play(_load(args), seed=args.seed, proxy_mode=args.proxy_mode, run=run)


def _load(args: argparse.Namespace) -> Inventory:
    from .controllers.settle import every_problem
    from .load.load import ReadingError, load
    from .load.selection import Selection
    from .objects.selectors import parse_selector
    from .run.kustomize import build

    try:
        selector = parse_selector(args.selector) if args.selector else None
    except ValueError as error:
        raise UsageError(
            f"-l {args.selector}: {str(error)!r} is no selector "
            "(as in app=web, app!=web, app in (web,api), app, !app)"
        ) from None
    try:
        given = [*args.targets, *args.filename]
        inventory = load(
            given or ([] if args.kustomize else [DEFAULT_TOPOLOGY]),
            topologies=TOPOLOGIES,
            stdin=sys.stdin,
            recursive=args.recursive,
            kustomizations=args.kustomize,
            build=build,
            selection=Selection(namespace=args.namespace, selector=selector, labels=args.selector),
        )
    except ReadingError as error:
        raise InputError(every_problem(error)) from None
    return inventory.deriving() if getattr(args, "derive", False) else inventory


def _source(args: argparse.Namespace, scenario: Scenario) -> str:
    from .load.targets import source_of

    state = scenario.state
    return source_of(
        [*args.targets, *args.filename, *args.kustomize] or [DEFAULT_TOPOLOGY],
        topologies=TOPOLOGIES,
        objects=[
            *state.node,
            *(f"Service {service.key}" for service in state.services),
            *(f"{workload.kind} {workload.key}" for workload in state.workloads),
            *(f"Pod {pod.key}" for pod in state.pods if not pod.metadata.ownerReferences),
        ],
    )


def _diff(args: argparse.Namespace) -> int:
    from .report.describe import pod_names
    from .report.files import check_writable_file
    from .run.codes import known_codes
    from .run.diff import check_modes, run_modes, settle_modes
    from .run.run import Options

    ignore = known_codes(args.ignore)
    modes = [mode.strip() for mode in args.modes.split(",")] if args.modes is not None else []
    if modes:
        check_modes(modes)  # before standard input is read
    attempt = Attempts()
    json, xml, html = (
        path if path and attempt(partial(check_writable_file, path)) else None
        for path in (args.json, args.junit, args.html)
    )
    scenarios = settle_modes(_load(args), modes, args.seed, args.run)
    comparison = run_modes(
        scenarios,
        Options(
            captures=args.captures,
            source=_source(args, next(iter(scenarios.values()))),
            iptables=args.iptables or "",
            verbose=args.verbose,
            strict=args.strict,
            ignore=ignore,
        ),
    )
    _tell(comparison, pod_names(next(iter(scenarios.values())).state), args, json, xml, html, attempt)
    if attempt.failed:
        return Exit.BAD_INPUT
    ok = comparison.ok and not (args.exit_code and comparison.differing)
    return Exit.OK if ok else Exit.FLOW_FAILED


def _tell(
    comparison: Comparison,
    pods: Mapping[str, str],
    args: argparse.Namespace,
    json: Path | None,
    xml: Path | None,
    html: Path | None,
    attempt: Attempts,
) -> None:
    """Writes the comparison in every form that was asked for, as far as each can be written."""
    import shutil

    from .report.files import append_text, write_file
    from .report.github import annotate_warnings
    from .report.junit import comparison_to_junit
    from .report.layout import wants_color
    from .report.modes_json import comparison_to_dict
    from .report.modes_markdown import render_markdown
    from .report.modes_text import render_comparison
    from .report.report_json import dump_json, dump_yaml

    values = comparison_to_dict(comparison, pods)
    if json:
        attempt(lambda: write_file(json, dump_json(values).encode()))
    if xml:
        attempt(lambda: write_file(xml, comparison_to_junit(comparison, pods)))
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        Attempts()(lambda: append_text(Path(summary), render_markdown(comparison)))  # no verdict hangs on it
    directory = f"{args.captures}/" if args.captures else ""
    if html:
        from .report.report_html import comparison_to_html

        attempt(lambda: write_file(html, comparison_to_html(comparison, pods, directory)))
    if args.output in ("table", "wide"):
        text = render_comparison(
            comparison,
            width=shutil.get_terminal_size((132, 24)).columns,
            pods=pods,
            wide=args.output == "wide",
            color=wants_color(os.environ, sys.stdout.isatty()),
            directory=directory,
        )
        text = unread_by_runner(text)
        if os.environ.get("GITHUB_ACTIONS") == "true":
            text += annotate_warnings(comparison.warnings, strict=comparison.strict)
    elif args.output == "markdown":
        text = render_markdown(comparison)
    else:
        text = (dump_json if args.output == "json" else dump_yaml)(values)
    attempt(lambda: say(text))


def _plan(args: argparse.Namespace) -> int:
    from .plan.shell import render_shell
    from .proxy.backends import backend_of
    from .report.prose_of_warnings import tell_warning
    from .run.codes import known_codes
    from .schedule.planner import plan_script, plan_script_change

    ignore = known_codes(args.ignore)
    scenario = _play(args)
    state = scenario.state
    found = dict.fromkeys(one for moment in scenario.moments for one in moment.state.warnings)
    warnings = [one for one in found if one.code not in ignore]
    code = Exit.FLOW_FAILED if args.strict and warnings else Exit.OK
    for notice in (*map(tell_warning, warnings), *state.notices):
        complain(notice)
    if args.origins:
        from .report.origins import render_origins

        say(render_origins(state))
        return code
    changes = [
        (step.name, plan_script_change(old.state, step.state)) for old, step in pairwise(scenario.moments)
    ]
    note = backend_of(state).layout
    say(render_shell(plan_script(state), title=f"The network of {state.name}", note=note, changes=changes))
    return code


def _graph(args: argparse.Namespace) -> int:
    from .controllers.settle import play
    from .run.graph import render_graph

    state = play(_load(args), seed=args.seed).state
    for notice in state.notices:
        complain(notice)
    say(render_graph(state, args.output))
    return Exit.OK
