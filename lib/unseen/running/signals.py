"""Ctrl-C and SIGTERM, taken where a run can write a checkpoint."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Terminated(KeyboardInterrupt):
    """SIGTERM, as ``KeyboardInterrupt`` is SIGINT."""


_RAISED = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}


@contextmanager
def polite_stops(first: Callable[[], Any] = lambda: None) -> Iterator[Callable[[], None]]:
    """Let SIGINT and SIGTERM wait for the next call of the function given; a second signal does not wait.

    The call raises ``KeyboardInterrupt`` or ``Terminated``, between two steps, where a run can write a checkpoint.
    ``first`` is called at once when the first signal comes; where it returns False that one does not wait either.
    In other threads than the main one, which get no signals, nothing changes.
    """
    asked: list[int] = []

    def ask(number: int, _: Any) -> None:
        asked.append(number)
        if len(asked) > 1 or first() is False:
            raise _RAISED[number]

    def check() -> None:
        if asked:
            raise _RAISED[asked[0]]

    with _handled(ask, *_RAISED):
        yield check


@contextmanager
def at_once() -> Iterator[None]:
    """Within ``polite_stops``: let signals not wait for a while, in which there is nothing to save."""

    def stop(number: int, _: Any) -> None:
        raise _RAISED[number]

    ours = [number for number in _RAISED if getattr(signal.getsignal(number), "__module__", "") == __name__]
    with _handled(stop, *ours):
        yield


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise ``Terminated``, as SIGINT raises ``KeyboardInterrupt``."""

    def terminate(*_: Any) -> None:
        raise Terminated

    with _handled(terminate, signal.SIGTERM):
        yield


@contextmanager
def _handled(handler: Callable[[int, Any], Any], *numbers: int) -> Iterator[None]:
    """Let a function take some signals for a while, in the main thread."""
    here = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number in numbers} if here else {}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
