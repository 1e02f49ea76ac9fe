"""Runs the commands about podwire itself and this machine: ``list``, ``doctor`` and ``version``."""

from __future__ import annotations

import argparse

from .. import __version__
from ..errors import Exit, UsageError
from ..kernel.environment import TOPOLOGIES
from ..report.output import say


def list_(_: argparse.Namespace) -> int:
    """Lists the topologies that come with podwire."""
    import shutil

    from ..load.targets import describe_topologies
    from ..report.entries import entries

    rows = describe_topologies(TOPOLOGIES) if TOPOLOGIES.is_dir() else []
    if not rows:
        raise UsageError(
            f"there are no topologies in {TOPOLOGIES}: the installation is not whole; install podwire again"
        )
    say(entries(rows, shutil.get_terminal_size((132, 24)).columns))
    return Exit.OK


def add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="everything that was tried, each lack with its remedy"
    )


def doctor(args: argparse.Namespace) -> int:
    """Tests which modes of kube-proxy run here, and prints it."""
    import shutil

    from ..run.doctor import examine, render

    findings = examine()
    width = shutil.get_terminal_size((132, 24)).columns
    say(f"{render(findings, every=args.verbose, width=width)}\n")
    return Exit.OK if all(f.ok or not f.required for f in findings) else Exit.MACHINE_LACKS


def version(_: argparse.Namespace) -> int:
    """Prints the release."""
    say(f"podwire {__version__}\n")
    return Exit.OK
