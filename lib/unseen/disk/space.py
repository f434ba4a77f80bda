"""Whether a place on disk takes what is to be written, and whether two processes see the same one: asked before any work starts."""

import errno
import os
import platform
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unseen.disk.files import CannotWrite, write


def check(root: Path, needed: int = 0) -> None:
    """Raise ``CannotWrite`` when the folder cannot take ``needed`` bytes more."""
    try:
        write(root / ".probe", "")
        (root / ".probe").unlink(missing_ok=True)
        free = shutil.disk_usage(root).free
    except OSError as error:
        raise CannotWrite(error.errno, f"the runs folder {root} cannot be used ({os.strerror(error.errno)}); "
                          "UNSEEN_RUNS chooses another place") from error  # fmt: skip
    if free < needed:
        raise CannotWrite(errno.ENOSPC, f"{root} has {free / 1e6:.1f} MB free and this run needs {needed / 1e6:.1f} MB; "
                          "'unseen clean' shows what can go, UNSEEN_RUNS chooses another place")  # fmt: skip


@contextmanager
def probe(root: Path) -> Iterator[str]:
    """The name of a file in the folder for a while, by which a worker elsewhere knows that it sees the same one."""
    check(root)
    path = root / f".probe-{uuid.uuid4().hex}"
    write(path, platform.node())
    try:
        yield path.name
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def same_as(root: Path, probe: str) -> None:
    """Raise ``CannotWrite`` where this process does not see the driver's probe."""
    if probe and not (root / probe).is_file():
        raise CannotWrite(errno.ENOENT, f"process {os.getpid()} on {platform.node()} does not see the driver's {root}: "
                          "all workers need one shared folder, which UNSEEN_RUNS names")  # fmt: skip
