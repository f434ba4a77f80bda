"""Ctrl-C and SIGTERM, delivered where a run can write a checkpoint."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from unseen.errors import Explained


class Stopped(BaseException):
    """A user or the system stops a run; its checkpoint is kept."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, as ``KeyboardInterrupt`` is SIGINT."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or Jupyter's stop, while a user looks on: the message says what is kept; no traceback."""

    _render_traceback_ = Explained._render_traceback_


_RAISED = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}


@contextmanager
def polite_stops(first: Callable[[], Any] = lambda: None) -> Iterator[Callable[[], None]]:
    """Defer a first SIGINT or SIGTERM to the next call of the function that this yields.

    The call raises ``KeyboardInterrupt`` or ``Terminated``, between two steps, where a run can write a
    checkpoint.  ``first`` is called at once when the signal arrives; if it returns False that one is not
    deferred either.  Outside the main thread, which alone gets signals, nothing changes.
    """
    received: list[int] = []

    def receive(number: int, _: Any) -> None:
        received.append(number)
        if len(received) > 1 or first() is False:
            raise _RAISED[number]

    def check() -> None:
        if received:
            raise _RAISED[received[0]]

    with _handled(receive, *_RAISED):
        yield check


@contextmanager
def at_once() -> Iterator[None]:
    """Within ``polite_stops``: deliver signals at once for a while in which there is nothing to save."""
    ours = [number for number in _RAISED if getattr(signal.getsignal(number), "__module__", "") == __name__]
    with _handled(_raise, *ours):
        yield


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise ``Terminated``, as SIGINT raises ``KeyboardInterrupt``."""
    with _handled(_raise, signal.SIGTERM):
        yield


def _raise(number: int, _: Any) -> None:
    raise _RAISED[number]


@contextmanager
def _handled(handler: Callable[[int, Any], Any], *numbers: int) -> Iterator[None]:
    """Install a handler of some signals for a while, in the main thread."""
    in_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number in numbers} if in_main else {}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
