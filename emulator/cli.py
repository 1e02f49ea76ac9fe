"""Parses the command line, runs the command, and returns the exit code. Everything heavy is imported by the
command that needs it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from . import __version__
from .commands import about, capture, check, completion, diff, doc, graph, plan, run, running, up, watch
from .commands.parser import Command, HelpFormatter, Parser, add_nothing
from .errors import Exit, PodwireError, UsageError
from .kernel.environment import DEFAULT_TOPOLOGY, REINSTALL, TOPOLOGIES, prepare_path
from .kernel.limits import explain
from .kernel.signals import end_at_once, prepare_signals
from .objects.proxymodes import COMING_MODE, DEFAULT_MODE
from .report.entries import folded
from .report.output import COLOR, complain, prepare_streams
from .starting import collect_rarely

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
            collect_rarely()
        if completion.WANTED in os.environ and argv is None:
            completion.complete(*make_parsers())
        args = _parse(words)
        if color := getattr(args, "color", None):
            os.environ.update(COLOR[color])
        code: int = args.function(args)
        return code
    except PodwireError as error:
        complain(str(error), folded=not error.holds_commands)
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
        complain(f"the Python package {error.name} is missing: {REINSTALL}", folded=False)
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


def _commands() -> dict[str, Command]:
    """Returns the commands, in the order of ``--help``."""
    return {
        "run": Command(
            "build the network, send every flow, print the verdicts (the default command)",
            run.add_run,
            run.run,
        ),
        "up": Command(
            "build the network and serve its Kubernetes API for kubectl, until Ctrl-C", up.add_up, up.up
        ),
        "down": Command("end a cluster that stays up", up.add_down, up.down),
        "kubeconfig": Command(
            "print the path of a running cluster's kubeconfig", up.add_kubeconfig, up.kubeconfig
        ),
        "check": Command(
            "send flows through a running cluster, judged by its objects as they are then",
            check.add_check,
            check.check,
        ),
        "watch": Command(
            "send requests steadily through a running cluster, and show who answers while it changes",
            watch.add_watch,
            watch.watch,
        ),
        "plan": Command(
            "print a bash script that builds the same network with ip, bridge, sysctl, iptables-restore and "
            "nft",
            plan.add_plan,
            plan.plan,
        ),
        "diff": Command(
            "run the same flows in several modes of kube-proxy and say what changes for each Service",
            diff.add_diff,
            diff.diff,
        ),
        "graph": Command(
            "print a picture of the networks with their machines, links, addresses and Services",
            graph.add_graph,
            graph.graph,
        ),
        "list": Command(
            "the topologies that come with podwire, each with its question", add_nothing, about.list_
        ),
        "doctor": Command(
            "which modes of kube-proxy run here, and what this machine lacks for the others",
            about.add_doctor,
            about.doctor,
        ),
        "doc": Command(
            "print a document of podwire, or sections of it: podwire doc semantics 7, podwire doc PW001",
            doc.add_doc,
            doc.doc,
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
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"podwire {__version__}")
    sub = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    parsers: dict[str, Parser] = {}
    for name, (text, add, function) in _commands().items():
        command = parsers[name] = sub.add_parser(
            name,
            help=text,
            # the epilog is not to be wrapped
            description=folded(f"{text[0].upper()}{text[1:]}.", 78),
            epilog=_EPILOG.partition(_MORE)[0] if name == "run" else None,
            formatter_class=HelpFormatter,
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
    is_short = len(word) < 20 and word[:1] != "-"
    close = get_close_matches(word, [*parsers, "help"], n=1, cutoff=0.65) if is_short else []
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
        return f": diff compares several modes, --modes {DEFAULT_MODE},{COMING_MODE}"
    having = [name for name, parser in parsers.items() if option in parser._option_string_actions]
    named = "" if words[0].partition("=")[0] == option else f"{option}, "  # the message begins with it
    return f": {named}an option of {', '.join(having)}" if having else ""
