"""``python -m emulator``: the same as the console script ``podwire``."""

import sys

from emulator.cli import main

sys.exit(main())
