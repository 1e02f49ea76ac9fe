"""Defines the errors that reach a user, and their exit codes.

Foreign exceptions are mapped to these where they enter; ``cli`` ends with their exit codes and has
``report.output`` print them.
"""

from __future__ import annotations

import errno
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

MOST_LINES = 10  # for the problems of one input
FOLDED_FROM = 3  # as many problems of one cause become one line
MOST_TEXT = 1000  # characters of one problem, which may quote a value


class Exit(IntEnum):
    """Lists the exit codes of the command line. (Ended by signal n: 128 + n.)"""

    OK = 0
    FLOW_FAILED = 1
    BAD_INPUT = 2
    MACHINE_LACKS = 3


# Errors of a system call about this process or machine, never about the examined network.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


def printable(text: str) -> str:
    """Returns ``text`` with every control character (newlines and terminal escapes too) spelled out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """Returns ``text`` with every control character but newlines and tabs spelled out."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def shorten(text: str, most: int = MOST_TEXT) -> str:
    """Returns ``text`` without its middle where it is longer than ``most`` characters."""
    if len(text) <= most:
        return text
    start, end = text[: most // 2], text[-most // 4 :]
    return f"{start}[… {len(text) - len(start) - len(end):,} more characters …]{end}"


class Words(str):
    """Holds a text, and its ``form``: the same without what is particular of one object. Texts of one form
    say the same of several objects.
    """

    __slots__ = ("form",)
    form: str

    def __new__(cls, text: str, form: str | None = None) -> Words:
        """Returns ``text``; nothing of it is particular if no ``form`` is given."""
        words = super().__new__(cls, text)
        words.form = form_of(text) if form is None else form
        return words


def worded(form: str, *values: object) -> Words:
    """Returns ``form`` (``is {} already``) with ``values`` in its braces. They are particular of an object
    (its name, address, number), but for :class:`Words`, which bring their own form.
    """
    particular = [value.form if isinstance(value, Words) else "…" for value in values]
    return Words(form.format(*values), form.format(*particular))


def form_of(text: str) -> str:
    """Returns the form of a text: of plain text, which has no particulars, the text itself."""
    return text.form if isinstance(text, Words) else text


class Cause(NamedTuple):
    """Identifies the cause of a problem, whatever the object: the form of the sentence, and the field."""

    form: str
    field: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """Describes one mistake in the user's input: its place, the fault, and what to do about it.

    ``document`` counts the YAML documents of ``file`` from 1 (0: the file as a whole); ``path`` is the
    field's path as a user would write it (``spec.ports[0].nodePort``); ``line`` counts from 1 (0: not known).
    ``field`` has the steps of the path that every object of the kind shares (``spec``, ``ports``,
    ``nodePort``): neither indices nor the user's own keys.
    """

    file: str
    what: str
    hint: str = ""
    document: int = 0
    path: str = ""
    line: int = 0
    field: tuple[str, ...] = ()

    @property
    def cause(self) -> Cause:
        return Cause(form_of(self.what), self.field)

    def __str__(self) -> str:
        where = self.file
        if self.line:
            where += f":{self.line}"
        if self.document:
            where += f": document {self.document}"
        if self.path:
            where += f": {self.path}"
        hint = f" (hint: {shorten(self.hint)})" if self.hint else ""
        return printable(f"{shorten(where)}: {shorten(self.what)}{hint}")


def fold(problems: Sequence[Problem]) -> list[str]:
    """Returns a line for each of ``problems``; one for several of the same cause that are few enough
    to read.
    """
    by_cause: dict[Cause, list[Problem]] = {}
    for problem in problems:
        by_cause.setdefault(problem.cause, []).append(problem)
    groups = [
        group
        for found in by_cause.values()
        for group in ([found] if len(found) >= FOLDED_FROM else ([each] for each in found))
    ]
    lines = [_line(group) for group in groups[:MOST_LINES]]
    rest = sum(len(group) for group in groups[MOST_LINES:])
    return [*lines, f"and {rest} more {'problem' if rest == 1 else 'problems'}"] if rest else lines


def _line(group: Sequence[Problem]) -> str:
    if len(group) == 1:
        return str(group[0])
    places = [f"{problem.file}:{problem.line}" if problem.line else problem.file for problem in group[1:]]
    others = ", ".join(dict.fromkeys(places[:3])) + (", …" if len(places) > 3 else "")
    return f"{group[0]}\n  and {len(places)} more of this kind: {printable(others)}"


class PodwireError(Exception):
    """Reports an error that a user may see. ``exit_code`` is the exit code of the process; ``holds_commands``
    says that some of its lines are to be pasted into a shell.

    Its text may quote an argument or a tool's output: ``str`` spells the control characters in it out.
    """

    exit_code: Exit = Exit.BAD_INPUT
    holds_commands: bool = False

    def __str__(self) -> str:
        return printable_lines(self.text)

    @property
    def text(self) -> str:
        """Returns the message as it was put together; it may be several lines."""
        return super().__str__()


class UsageError(PodwireError):
    """Reports a command line that cannot work: an unknown topology, an unwritable directory.

    The message is one line.
    """

    def __str__(self) -> str:
        return printable(self.text)


class InputError(PodwireError):
    """Reports everything that is wrong with the input, at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(self.problems)  # the arguments as given: errors cross the sandbox's pipe by pickle

    @property
    def text(self) -> str:
        return "\n".join(fold(self.problems))


class MissingCapabilityError(PodwireError):
    """Reports that this kernel or machine lacks ``name``; ``remedy`` is how to mend that."""

    exit_code = Exit.MACHINE_LACKS

    def __init__(self, name: str, remedy: str) -> None:
        self.name, self.remedy = name, remedy
        super().__init__(name, remedy)

    @property
    def text(self) -> str:
        return f"this machine lacks {self.name}: {self.remedy}"


class KernelError(PodwireError):
    """Reports a refusal of the kernel or a tool. Shows namespace, command, input and error, ready to paste
    into a shell.
    """

    exit_code = Exit.MACHINE_LACKS
    holds_commands = True

    def __init__(self, netns: str, command: Sequence[str] | str, error: str, stdin: str = "") -> None:
        """Keeps the parts. ``command`` is an argv list run inside ``netns``, or lines of shell that name
        their namespaces themselves.
        """
        self.netns, self.command, self.error, self.stdin = netns, command, error, stdin
        super().__init__(netns, command, error, stdin)

    @property
    def text(self) -> str:
        if isinstance(self.command, str):
            shown = self.command
        else:
            shown = (f"ip netns exec {shlex.quote(self.netns)} " if self.netns else "") + shlex.join(
                self.command
            )
        if self.stdin:
            shown += f" <<'EOF'\n{self.stdin.rstrip()}\nEOF"
        return f"{self.error.strip()}\n  while running:\n{shown}"


class ToolKilledError(KernelError):
    """Reports a tool that did not end by itself: a signal killed it, or it took too long. The kernel's answer
    is unknown.
    """
