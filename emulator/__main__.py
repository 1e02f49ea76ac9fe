"""Runs ``python -m emulator``, the same as the console script ``podwire``."""

from . import starting

starting.prepare()

import sys  # noqa: E402 - a signal may come already

from .cli import main  # noqa: E402

sys.exit(main())
