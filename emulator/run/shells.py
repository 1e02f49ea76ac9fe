"""Decides how a shell is started so that its prompt says where one is. Pure.

A prompt in the environment is not enough: bash, zsh and fish set their own in their start files. So these get
a start file, in a directory that only the shell sees, which reads the user's own and then sets the prompt.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

DIRECTORY = "/run/podwire"  # the start files' place in the shell's own mount namespace
_UNSAFE = re.compile(r"[^A-Za-z0-9._/@+-]")  # a shell may expand these in a prompt, or they are unusual
_LONGEST_HOST_NAME = 63


@dataclass(frozen=True, slots=True)
class Start:
    """Holds how a shell is started: its argv, what is added to its environment, and its start files by name
    in DIRECTORY.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def host_name(netns: str) -> str:
    """Returns the host name in the network namespace ``netns``: the Pod's name as kubelet cuts it, or the
    machine's.
    """
    _, pod, name = netns.partition("_")
    return (name if pod else netns)[:_LONGEST_HOST_NAME].rstrip("-.")


def prompt(place: str, topology: str) -> str:
    """Returns ``[worker-1 @ three-networks] #``, with "?" for every character that a shell might expand."""
    safe = [_UNSAFE.sub("?", text) or "?" for text in (place, topology)]
    return f"[{safe[0]} @ {safe[1]}] # "


def start_shell(shell: str, text: str, environment: Mapping[str, str]) -> Start:
    """Returns how ``shell`` is started with the prompt ``text``. ``environment`` is the user's."""
    name = PurePath(shell).name
    if name == "bash":
        lines = ("[ ! -r ~/.bashrc ] || . ~/.bashrc", "unset PROMPT_COMMAND", f"PS1='{text}'")
        return Start((shell, "--rcfile", f"{DIRECTORY}/bashrc"), files={"bashrc": _file(*lines)})
    if name == "zsh":
        home = shlex.quote(environment.get("ZDOTDIR") or environment.get("HOME") or "/")
        read = "[[ ! -r $ZDOTDIR/{0} ]] || . $ZDOTDIR/{0}"
        mine = f"ZDOTDIR={DIRECTORY}"
        theirs = f"ZDOTDIR={home}"
        files = {
            ".zshenv": _file(theirs, read.format(".zshenv"), mine),
            ".zshrc": _file(theirs, read.format(".zshrc"), "precmd_functions=()", f"PROMPT='{text}'"),
        }
        return Start((shell,), {"ZDOTDIR": DIRECTORY}, files)
    if name == "fish":
        return Start((shell, "-C", f"function fish_prompt; printf %s '{text}'; end"))
    return Start((shell,), {"PS1": text})


def _file(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)
