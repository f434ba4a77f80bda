"""``unseen`` and ``python -m unseen``: imports ``cli``, which takes seconds; Ctrl-C ends that at once.

As an exception it would print a traceback through other libraries, or be swallowed by one of them.
"""

import os
import signal
import sys


def main() -> int:
    """Load the command line and run it; returns the exit code."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed by a daemon or a shell's ``>&-``; a kernel would not start without it
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # else someone ignores it, as a shell does for background jobs
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from unseen.cli import main as command
    except Exception as error:  # of a library that is missing, broken, or refuses what the environment says
        print(f"unseen: a library cannot be loaded: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGINT, before)
    return command()


if __name__ == "__main__":
    sys.exit(main())
