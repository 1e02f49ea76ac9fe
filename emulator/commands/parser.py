"""Parses the words of a command line. Mistakes in them are errors of podwire, in one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from ..errors import UsageError
from ..report.output import say

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


class Parser(argparse.ArgumentParser):
    """Raises UsageError in place of exiting, and prints help as any other output."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:  # noqa: ARG002 - --help and --version
        say(message)


class Command(NamedTuple):
    """Describes one command: its line in ``--help``, the function that adds its arguments, and the one that
    runs it and returns the exit code.
    """

    help: str
    add: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def add_nothing(_: argparse.ArgumentParser) -> None:
    """Adds no argument."""
