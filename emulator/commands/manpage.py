"""Renders podwire's man page from its parsers, in the language of man(7). Pure."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

# how many words of a command line an argument takes, as a synopsis shows it
_NUMBER: Mapping[int | str | None, str] = {"*": " [{}]...", "?": " [{}]"}


def render(
    parser: argparse.ArgumentParser, parsers: Mapping[str, argparse.ArgumentParser], version: str
) -> str:
    """Returns the page. ``parsers`` are those of the commands, by name."""
    description, _, rest = (parser.epilog or "").partition("Exit codes:")
    codes, _, examples = rest.partition("Examples:\n")
    lines = [
        f'.TH PODWIRE 1 "" "podwire {version}" "User Commands"',
        *_section("NAME", [f"podwire \\- {_plain(parser.description or '').rstrip('.')}"]),
        ".SH SYNOPSIS",
        *_synopsis(parsers),
        *_section("DESCRIPTION", [_plain(description)]),
        ".SH COMMANDS",
    ]
    for name, command in parsers.items():
        lines += [f".SS podwire {name}", *_text(_plain(command.description or ""))]
        lines += [line for action in command._actions for line in _action(action)]
        if name != "run" and command.epilog:
            lines += _verbatim(command.epilog)
    lines += _section("EXIT STATUS", [_plain(codes)])
    lines += [".SH EXAMPLES", *_verbatim(examples.partition("\n\n")[0])]
    lines += _section(
        "ENVIRONMENT",
        ["NO_COLOR and FORCE_COLOR choose colours, as \\-\\-color does. COLUMNS is the width of tables."],
    )
    lines += _section("SEE ALSO", ["ip(8), iptables(8), nft(8), tshark(1), wireshark(1)"])
    return "\n".join(lines) + "\n"


def _section(title: str, paragraphs: list[str]) -> Iterator[str]:
    yield f".SH {title}"
    for paragraph in paragraphs:
        yield from _text(paragraph)


def _synopsis(parsers: Mapping[str, argparse.ArgumentParser]) -> Iterator[str]:
    for name, command in parsers.items():
        has_options = any(action.option_strings and action.dest != "help" for action in command._actions)
        options = " [\\fIOPTION\\fR]..." if has_options else ""
        words = "".join(
            _NUMBER.get(action.nargs, " {}").format(_escape(_metavar(action)))
            for action in command._actions
            if not action.option_strings
        )
        shown = f"[\\fB{name}\\fR]" if name == "run" else f"\\fB{name}\\fR"
        yield f"\\fBpodwire\\fR {shown}{options}{words}"
        yield ".br"


def _action(action: argparse.Action) -> Iterator[str]:
    if action.help is argparse.SUPPRESS or action.dest == "help":
        return
    yield ".TP"
    if action.option_strings:
        value = "" if action.nargs == 0 else f" \\fI{_escape(_metavar(action))}\\fR"
        yield ", ".join(f"\\fB{_escape(option)}\\fR{value}" for option in action.option_strings)
    else:
        yield f"\\fI{_escape(_metavar(action))}\\fR"
    yield from _text(_plain((action.help or "").replace("%%", "%")))


def _metavar(action: argparse.Action) -> str:
    if isinstance(action.metavar, str):
        return action.metavar
    if action.choices:
        return "|".join(map(str, action.choices))
    return action.dest.upper()


def _plain(text: str) -> str:
    """Returns ``text`` as one paragraph."""
    return _escape(" ".join(text.split()))


def _escape(text: str) -> str:
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    return "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in plain)


def _text(paragraph: str) -> Iterator[str]:
    """Yields a paragraph; a line may not begin as a request does."""
    yield f"\\&{paragraph}" if paragraph[:1] in (".", "'") else paragraph


def _verbatim(text: str) -> Iterator[str]:
    yield from (".PP", ".nf")
    for line in text.strip("\n").splitlines():
        yield from _text(_escape(line))
    yield ".fi"
