"""Runs ``diff``: the same flows in several modes of kube-proxy."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Exit
from ..objects.proxymodes import COMING_MODE
from ..report.output import Attempts, say, unread_by_runner
from .arguments import (
    add_captures,
    add_commands,
    add_derive,
    add_files,
    add_input,
    add_looks,
    add_tools,
    add_warnings,
)
from .targets import load_targets, source_of_targets

if TYPE_CHECKING:
    from ..verdicts.modes import Comparison


def add_diff(parser: argparse.ArgumentParser) -> None:
    add_input(parser)
    parser.add_argument(
        "--modes",
        metavar="MODE,MODE…",
        help=f"what to compare (default: the cluster's own mode and {COMING_MODE}, the default from "
        "Kubernetes 1.40 on: KEP-5343); real:PATH is a real kube-proxy in the cluster's own mode, "
        "real:MODE:PATH in MODE",
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
    add_derive(parser)
    add_looks(parser)
    add_files(parser)
    add_captures(parser, "a directory per topology and mode")
    add_warnings(parser)
    add_commands(parser)
    add_tools(parser)


def diff(args: argparse.Namespace) -> int:
    """Compares modes of kube-proxy on the targets' cluster."""
    from ..report.describe import pod_names
    from ..report.files import check_writable_file
    from ..run.codes import known_codes
    from ..run.diff import check_modes, run_modes, settle_modes
    from ..run.run import Options

    ignore = known_codes(args.ignore)
    modes = [mode.strip() for mode in args.modes.split(",")] if args.modes is not None else []
    if modes:
        check_modes(modes)  # before standard input is read
    attempt = Attempts()
    json, xml, html = (
        path if path and attempt(partial(check_writable_file, path)) else None
        for path in (args.json, args.junit, args.html)
    )
    scenarios = settle_modes(load_targets(args), modes, args.seed, args.run)
    comparison = run_modes(
        scenarios,
        Options(
            captures=args.captures,
            source=source_of_targets(args, next(iter(scenarios.values()))),
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

    from ..report.files import append_text, write_file
    from ..report.github import annotate_warnings
    from ..report.junit import comparison_to_junit
    from ..report.layout import wants_color
    from ..report.modes_json import comparison_to_dict
    from ..report.modes_markdown import render_markdown
    from ..report.modes_text import render_comparison
    from ..report.report_json import dump_json, dump_yaml

    values = comparison_to_dict(comparison, pods)
    if json:
        attempt(lambda: write_file(json, dump_json(values).encode()))
    if xml:
        attempt(lambda: write_file(xml, comparison_to_junit(comparison, pods)))
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        Attempts()(lambda: append_text(Path(summary), render_markdown(comparison)))  # no verdict hangs on it
    if html:
        from ..report.report_html import comparison_to_html
        from ..run.reporting import relative_path

        captures = {mode: relative_path(Path(place), html) for mode, place in comparison.directories.items()}
        attempt(lambda: write_file(html, comparison_to_html(comparison, pods, captures)))
    if args.output in ("table", "wide"):
        text = render_comparison(
            comparison,
            width=(columns := shutil.get_terminal_size((132, 24)).columns),
            pods=pods,
            wide=args.output == "wide",
            wide_width=columns if sys.stdout.isatty() else None,
            color=wants_color(os.environ, sys.stdout.isatty()),
        )
        text = unread_by_runner(text)
        if os.environ.get("GITHUB_ACTIONS") == "true":
            text += annotate_warnings(comparison.warnings, strict=comparison.strict)
    elif args.output == "markdown":
        text = render_markdown(comparison)
    else:
        text = (dump_json if args.output == "json" else dump_yaml)(values)
    attempt(lambda: say(text))
