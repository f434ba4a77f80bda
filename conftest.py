"""What every test shares: deterministic examples, one thread."""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "house",
    max_examples=60,
    deadline=None,  # a busy machine is not a failure
    derandomize=True,  # the same examples every time
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("house")


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A runs folder of this test's own."""
    monkeypatch.setenv("UNSEEN_RUNS", str(tmp_path / "runs"))
    return (tmp_path / "runs").resolve()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The folder of the tiny language model that ``smoke`` has in place of SmolLM2."""
    from unseen.studies import real_model

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNSEEN_RUNS", str(tmp_path_factory.mktemp("runs")))
        return real_model.base_of("smoke")


@pytest.fixture
def written(tmp_path):
    """Write a file of this test's own, given as text or bytes, and give its path."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Sums in one order on every machine, and none of the neighbours' processors."""
    import torch  # here, not above: xdist's own process, for which all others wait, does without

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_collection_modifyitems(items):
    """The longest files first, so that no process is left alone with one at the end."""
    items.sort(key=lambda item: item.path.name not in ("test_nbval.py", "test_notebooks.py"))
