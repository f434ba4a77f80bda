"""No network, a space and an umlaut in the path, another working directory, a read-only checkout."""

import os
import shutil
import subprocess
import sys

import pytest
from test_promise_03_disk import can_mount

from unseen.files import project_folder

ROOT = project_folder()
CODE = """
import socket, sys
import unseen
assert {place!r} in unseen.__file__, unseen.__file__
real = socket.socket.connect
def connect(self, address):
    host = address[0] if isinstance(address, tuple) else ""
    assert host in ("", "127.0.0.1", "localhost", "::1"), f"network: {{address}}"
    return real(self, address)
socket.socket.connect = connect
from unseen.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what a stranger gets, in a folder that trips up careless programs."""
    place = tmp_path_factory.mktemp("elsewhere") / "Übung 1 {scale} & 'mehr'"
    for name in ("lib", "notebooks", "data", "tests"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", place)
    return place


def run(checkout, runs, *arguments):
    """The command in another folder; where this user may, without any network but a machine's own loopback
    and on a checkout that nobody can write to.
    """
    prepare = 'ip link set lo up && mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && ' \
              'if touch "$0/x" 2>/dev/null; then exit 9; fi; exec "$@"'  # fmt: skip
    alone = shutil.which("unshare") and shutil.which("ip") and can_mount()
    within = ["unshare", "-rmn", "sh", "-c", prepare, str(checkout)] if alone else []
    code = CODE.format(place=checkout.name)
    places = {"PYTHONPATH": f"{checkout / 'lib'}", "UNSEEN_RUNS": f"{runs}", "HOME": f"{runs.parent}"}
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = os.environ | places | nowhere | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [*within, sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True)


def test_notebooks_from_another_folder_under_an_odd_path(checkout, tmp_path, promise, amount):
    runs = tmp_path / "Läufe von gestern" / "runs"
    before = {path: path.stat().st_mtime_ns for path in checkout.rglob("*")}
    for number in amount(["04"], ["00", "04", "10"], ["00", "01", "02", "03", "04", "10", "11", "12", "90"]):
        ran = run(checkout, runs, "run", number)
        assert ran.returncode == 0, ran.stderr[-3_000:]
        assert list((runs / "show").glob(f"{number}_*.success.json"))
        promise("notebooks offline, under an odd path")
    assert {path: path.stat().st_mtime_ns for path in checkout.rglob("*")} == before
