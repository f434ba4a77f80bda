"""``unseen`` and ``python -m unseen``: imports ``cli``, which takes seconds; Ctrl-C ends that at once.

As an exception it would print a traceback through other libraries, or be swallowed by one of them.
"""

import signal
import sys


def main() -> int:
    """Load the command line and run it; returns the exit code."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # else someone ignores it, as a shell does for background jobs
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from unseen.cli import main as command

    signal.signal(signal.SIGINT, before)
    return command()


if __name__ == "__main__":
    sys.exit(main())
