"""Shows what a run is doing, on a terminal: its phase, and how much of it is done."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Step = Callable[[int], None]


@contextmanager
def phase(text: str, total: int = 0, *, shown: bool = True) -> Iterator[Step]:
    """Shows ``text`` as long as the context lasts, with ``n/total`` if there is a total.

    Yields what is called with the number of steps that are done. Without a terminal, or if it shall not be
    ``shown``, it shows nothing.
    """
    if not shown or not sys.stderr.isatty():
        yield lambda _: None
        return
    from tqdm import tqdm

    form = "podwire: {desc} {n_fmt}/{total_fmt} [{elapsed}]" if total else "podwire: {desc} [{elapsed}]"
    columns, rows = shutil.get_terminal_size()  # tqdm shows nothing where a terminal does not know its size
    with tqdm(
        total=total or None,
        desc=text,
        bar_format=form,
        leave=False,
        file=sys.stderr,
        ncols=columns,
        nrows=rows,
    ) as bar:

        def step(count: int) -> None:
            bar.update(count)

        yield step
