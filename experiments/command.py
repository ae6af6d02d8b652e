"""How every command ends: one line and an exit status, never a traceback for what a user can mend."""

import sys
from collections.abc import Callable

from funcnn.errors import InputError


def exit_status(run: Callable[[], int]) -> int:
    """What ``run`` gives; 1 with a message where it is refused or fails, 130 for Ctrl-C."""
    try:
        return run()
    except (InputError, MemoryError, ModuleNotFoundError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
