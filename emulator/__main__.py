"""``python -m emulator``: the same as the console script ``podwire``."""

import sys

from emulator.signals import end_at_once

end_at_once()  # the imports below take a while

from emulator.cli import main  # noqa: E402

sys.exit(main())
