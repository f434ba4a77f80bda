"""Waiting for processes, and for what they do."""

import time

import psutil


def until(true, seconds=300):
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def gone(process):
    """Whether a process has ended, even if it is still a zombie."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
