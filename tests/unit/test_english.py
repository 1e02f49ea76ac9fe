"""Holds docstrings and comments to the rule "Plain English" of docs/contributing.md."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted(
    [
        *(path for folder in ("emulator", "benchmark", "tests") for path in (ROOT / folder).rglob("*.py")),
        ROOT / "scripts/bench",
        ROOT / "scripts/uml",
    ]
)
VERBS = frozenset(
    """
    Accepts Adds Admits Advises Allocates Allows Announces Answers Appends Applies Arranges Asks Behaves
    Binds Blocks Boots Breaks Brings Builds Calls Captures Carries Changes Checks Chooses Clears Closes
    Collects Combines Compares Completes Computes Confines Connects Controls Converts Copies Counts
    Creates Cuts Decides Decodes Defines Delays Deletes Delivers Depends Derives Describes Detaches
    Detects Dials Does Draws Drives Drops Emulates Encloses Encodes Ends Enters Examines Executes Exits
    Expects Explains Extends Fails Feeds Fills Filters Finds Folds Follows Formats Frees Generates Gives
    Groups Handles Has Hides Holds Ignores Implements Infers Inherits Inserts Installs Interrupts Joins
    Judges Keeps Kills Knows Labels Lays Leads Leaves Lets Limits Listens Lists Loads Locates Makes Maps
    Marks Masks Masquerades Matches Measures Merges Mounts Moves Names Notes Numbers Observes Opens Orders
    Owns Pairs Parses Passes Places Plans Plugs Prefers Prepares Prints Promises Proves Provides Prunes
    Pulls Pushes Puts Queues Raises Reaches Reads Reaps Receives Recognises Records Refuses Registers
    Removes Renders Repeats Replaces Reports Requires Reserves Resets Resolves Returns Reverses Rewrites
    Rounds Runs Saves Says Scales Schedules Searches Selects Sends Serves Sets Settles Shares Shortens
    Shows Signals Skips Sorts Speaks Spells Splits Stands Starts Stops Stores Strips Summarises Swaps
    Switches Takes Taps Tests Tracks Translates Tries Turns Unmaps Updates Uses Validates Waits Walks
    Warns Watches Weighs Wraps Writes Yields
    """.split()  # noqa: SIM905 - a table of words
)  # one that is missing may be added
RIDDLE = re.compile(r"(?:\A|[.:;?!)]\s+|\(|\n\s*\n\s*)(What|Who|Whose|Of|Whether)\b")
FRAGMENT = re.compile(r"(what|who|whose|of|whether)\b", re.IGNORECASE)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def docstrings(text: str) -> Iterator[tuple[int, str]]:
    """Yields the line and the text of each docstring."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, DOCUMENTED) and (docstring := ast.get_docstring(node)):
            yield node.body[0].lineno, docstring


def comments(text: str) -> Iterator[tuple[int, str]]:
    """Yields the line and the text of each comment; consecutive lines of comment alone are one."""
    last, started, words = 0, 0, ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, alone = token.start[0], not token.line[: token.start[1]].strip()
        if alone and line == last + 1:
            words += " " + token.string.lstrip("# ")
        else:
            if words:
                yield started, words
            started, words = line, token.string.lstrip("# ")
        last = line if alone else 0
    if words:
        yield started, words


@cache
def every(found_in: Callable[[str], Iterator[tuple[int, str]]]) -> Sequence[tuple[str, str]]:
    """Returns the place and the text of all that ``found_in`` finds in any file."""
    return [
        (f"{path.relative_to(ROOT)}:{line}: {text[:60]}", text)
        for path in FILES
        for line, text in found_in(path.read_text())
    ]


def test_a_docstring_begins_with_a_verb() -> None:
    assert [where for where, text in every(docstrings) if text.split()[0].rstrip(",") not in VERBS] == []


def test_no_sentence_begins_as_a_riddle() -> None:
    rows = [row for kind in (docstrings, comments) for row in every(kind)]
    assert [where for where, text in rows if RIDDLE.search(text)] == []


def test_no_comment_is_half_a_riddle() -> None:
    assert [where for where, text in every(comments) if FRAGMENT.match(text)] == []


def test_the_rule_finds_what_it_is_for() -> None:
    bad = '"""Whose names these are. Of a Pod."""\nX = 1  # of each\n# What is so\n# on\n'
    ((_, docstring),) = docstrings(bad)
    assert docstring.split()[0] not in VERBS
    assert RIDDLE.findall(docstring) == ["Whose", "Of"]
    assert [words for _, words in comments(bad)] == ["of each", "What is so on"]
    assert all(FRAGMENT.match(words) for _, words in comments(bad))
