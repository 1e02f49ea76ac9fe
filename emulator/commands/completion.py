"""Completes command lines in bash, zsh and fish, by argcomplete: at each Tab the shell starts podwire, which
finds what may follow. ``podwire completion`` prints what the shell needs for that.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import Exit
from ..kernel.environment import TOPOLOGIES
from ..report.output import say

if TYPE_CHECKING:
    from ..run.clusters import Running

WANTED = "_ARGCOMPLETE"  # argcomplete's variable: a shell asks for a completion
SHELLS = ("bash", "zsh", "fish")
_HOW = """\
bash: eval "$(podwire completion bash)" in ~/.bashrc
zsh:  eval "$(podwire completion zsh)" in ~/.zshrc, behind compinit
fish: podwire completion fish > ~/.config/fish/completions/podwire.fish
"""


def add_completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="the shell that it is for")
    parser.epilog = _HOW


def completion(args: argparse.Namespace) -> int:
    """Prints the code that makes a shell complete podwire's command lines."""
    from argcomplete.shell_integration import shellcode

    say(shellcode(["podwire"], shell=args.shell) + "\n")
    return Exit.OK


def complete(parser: argparse.ArgumentParser, parsers: Mapping[str, argparse.ArgumentParser]) -> NoReturn:
    """Writes what may follow to the shell, and ends the process. ``parsers`` are those of the commands.

    An environment that no shell makes has no completions: whatever is printed here lands in the line that
    the user types.
    """
    try:
        with suppress(Exception):
            _complete(parser, parsers)
    finally:
        os._exit(1)


def _complete(parser: argparse.ArgumentParser, parsers: Mapping[str, argparse.ArgumentParser]) -> None:
    from argcomplete.finders import CompletionFinder
    from argcomplete.lexers import split_line

    for one in parsers.values():
        for action in one._actions:
            if action.dest in _COMPLETERS:
                action.completer = _COMPLETERS[action.dest]  # type: ignore[attr-defined]
    line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
    before = split_line(line)[3][1:]  # whole words, without the program's name
    if not before:
        targets = next(action for action in parsers["run"]._actions if action.dest == "targets")
        targets.completer = _with_commands(parsers)  # type: ignore[attr-defined]
    chosen = parser if before and before[0] in parsers else parsers["run"]
    CompletionFinder()(chosen, always_complete_options="long")  # ends the process


def _with_commands(parsers: Collection[str]) -> Any:
    """Returns a completer of the first word: a command, or a target of ``run``."""

    def find(prefix: str, **how: Any) -> list[str]:
        return [*(name for name in parsers if name.startswith(prefix)), *_targets(prefix, **how)]

    return find


def _targets(prefix: str, **how: Any) -> list[str]:
    from ..load.targets import topology_names

    names = (name for name in topology_names(TOPOLOGIES) if name.startswith(prefix))
    return [*names, *_files(prefix, **how)]


def _files(prefix: str, **how: Any) -> list[str]:
    from argcomplete.completers import FilesCompleter

    from ..load.targets import MANIFEST_SUFFIXES

    endings = tuple(suffix.removeprefix(".") for suffix in (*MANIFEST_SUFFIXES, ".py"))
    return list(FilesCompleter(endings)(prefix, **how))


def _directories(prefix: str, **how: Any) -> list[str]:
    from argcomplete.completers import DirectoriesCompleter

    return list(DirectoriesCompleter()(prefix, **how))


def _documents(prefix: str, **_: Any) -> list[str]:
    from .doc import documents

    return [name for name in documents() if name.startswith(prefix)]


def _running(parsed_args: argparse.Namespace) -> list[Running]:
    from ..run.clusters import find_running

    cluster = getattr(parsed_args, "cluster", "")
    found = find_running()
    return [one for one in found if cluster in (one.topology, str(one.pid))] if cluster else found


def _names(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Returns the names of running Pods, nodes and clients that begin with ``prefix``."""
    found = _each_name(parsed_args)
    return list(dict.fromkeys(name for name in found if name.startswith(prefix)))


def _each_name(parsed_args: argparse.Namespace) -> Iterator[str]:
    for one in _running(parsed_args):
        yield from one.names
        for member in one.members:
            if member.controller.startswith("Deployment/"):
                yield f"deploy/{member.controller.partition('/')[2]}"


def _containers(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Returns the names of containers that begin with ``prefix``, of every running Pod."""
    found = (name for one in _running(parsed_args) for member in one.members for name in member.containers)
    return list(dict.fromkeys(name for name in found if name.startswith(prefix)))


def _clusters(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    parsed_args.cluster = ""
    names = [name for one in _running(parsed_args) for name in (one.topology, str(one.pid))]
    return [name for name in names if name.startswith(prefix)]


_COMPLETERS: Mapping[str, Any] = {
    "document": _documents,
    "container": _containers,
    "targets": _targets,
    "filename": _targets,
    "flowchecks": _files,
    "kustomize": _directories,
    "captures": _directories,
    "name": _names,
    "place": _names,
    "cluster": _clusters,
}
