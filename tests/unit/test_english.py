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
    Accepts Accumulates Adds Admits Adopts Advises Aggregates Allocates Allows Announces Answers Appends
    Applies Approves Arranges Asks Asserts Assigns Attaches Authenticates Authorizes Awaits Behaves
    Binds Blocks Boots Bounds Breaks Brings Builds Caches Calls Cancels Captures Carries Changes Checks
    Chooses Claims Clears Closes Coerces Collects Combines Compares Completes Computes Configures
    Confines Connects Consumes Controls Converts Copies Corrects Counts Creates Cuts Debounces Decides
    Declares Decodes Defaults Defines Delays Deletes Delivers Demands Depends Derives Describes Detaches
    Detects Dials Dispatches Does Drains Draws Drives Drops Echoes Elapses Emits Emulates Encloses
    Encodes Ends Enters Evicts Examines Executes Exits Expands Expects Expires Explains Exports Exposes
    Extends Fails Feeds Fetches Fills Filters Finds Flags Flushes Folds Follows Forgets Formats Forwards
    Frees Generates Gives Grants Groups Guards Handles Has Hashes Hears Hides Holds Identifies Ignores
    Implements Infers Inherits Inserts Installs Interprets Interrupts Invokes Issues Joins Judges Keeps
    Kills Knows Labels Launches Lays Leads Leaves Lets Limits Listens Lists Loads Locates Logs Looks
    Makes Maps Marks Masks Masquerades Matches Measures Merges Mints Mirrors Mounts Moves Names
    Negotiates Notes Notifies Numbers Observes Opens Orders Overlays Owns Pairs Parses Passes Patches
    Picks Places Plans Plugs Polls Prefers Prepares Prints Probes Promises Protects Proves Provides
    Prunes Publishes Pulls Pushes Puts Queues Quotes Raises Ranks Reaches Reads Reaps Receives Restarts
    Recognises Recomputes Reconciles Records Recovers Refuses Registers Rejects Relays Releases Removes
    Renders Renews Reorders Repeats Replaces Reports Requires Reserves Resets Resolves Restores Resumes
    Retries Returns Reverses Rewrites Rolls Rounds Routes Runs Samples Saves Says Scales Schedules
    Searches Selects Sends Serialises Serves Sets Settles Shares Shortens Shows Signals Signs Simplifies
    Skips Sorts Speaks Spells Splices Splits Stamps Stands Starts Stays Steps Stops Stores Streams
    Strips Submits Subscribes Summarises Supplies Swaps Switches Syncs Tails Takes Taps Tears Terminates
    Tests Throttles Times Tracks Translates Tries Trims Turns Types Unmaps Unpacks Updates Upgrades Uses
    Validates Verifies Waits Wakes Walks Warns Watches Weighs Wraps Writes Yields Zips
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


# modules that must be light: the import contract, which is about rooms, does not hold that
LIGHT = {"emulator/objects/proxymodes.py", "emulator/starting.py"}


def test_no_head_claims_what_the_import_contract_holds() -> None:
    """Finds heads that list what their module imports: such a list is false soon, and lint-imports knows."""
    heads = {
        str(path.relative_to(ROOT)): ast.get_docstring(ast.parse(path.read_text())) or ""
        for path in FILES
        if path.is_relative_to(ROOT / "emulator")
    }
    claims = re.compile(r"(?:\A|[.;:,] |\n)[Ii]mports\b|\bimports (?:no|nothing|only)\b")
    assert {path for path, head in heads.items() if claims.search(head)} == LIGHT


def test_the_rule_finds_what_it_is_for() -> None:
    bad = '"""Whose names these are. Of a Pod."""\nX = 1  # of each\n# What is so\n# on\n'
    ((_, docstring),) = docstrings(bad)
    assert docstring.split()[0] not in VERBS
    assert RIDDLE.findall(docstring) == ["Whose", "Of"]
    assert [words for _, words in comments(bad)] == ["of each", "What is so on"]
    assert all(FRAGMENT.match(words) for _, words in comments(bad))
