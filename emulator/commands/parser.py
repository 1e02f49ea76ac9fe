"""Parses the words of a command line. Mistakes in them are errors of podwire, in one line."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from ..errors import UsageError
from ..report.output import say

if TYPE_CHECKING:
    from _typeshed import SupportsWrite
STANDARD_OUTPUT = Path("/dev/stdout")


class Parser(argparse.ArgumentParser):
    """Raises UsageError in place of exiting, and prints help as any other output."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:  # noqa: ARG002 - --help and --version
        say(message)


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Folds the text of options between words alone: a name or an option with hyphens is one word."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)


class Command(NamedTuple):
    """Describes one command: its line in ``--help``, the function that adds its arguments, and the one that
    runs it and returns the exit code.
    """

    help: str
    add: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def add_nothing(_: argparse.ArgumentParser) -> None:
    """Adds no argument."""


def file_name(text: str) -> Path:
    """Returns the file that an option names; "-" is standard output."""
    if not text:
        raise argparse.ArgumentTypeError("names no file")
    return STANDARD_OUTPUT if text == "-" else Path(text)
