"""``unseen`` and ``python -m unseen``: the door to ``cli``, which takes seconds to load; Ctrl-C ends that at once.

As an exception it would be drawn as a page of other people's code, or be swallowed by one of their imports.
"""

import signal
import sys


def main() -> int:
    """Load the command line and run it; returns the exit code."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # else someone wants it ignored, as a shell for what it runs behind
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from unseen.cli import main as command

    signal.signal(signal.SIGINT, before)
    return command()


if __name__ == "__main__":
    sys.exit(main())
