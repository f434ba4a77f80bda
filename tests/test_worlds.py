"""All task worlds: what a digest stands for, and a world that is added in one file and one line."""

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import freeze
from trainers import SMALL
from unseen import worlds
from unseen.fields import spec
from unseen.layout import Layout
from unseen.specs import RunSpec
from unseen.worlds.base import Examples, Task

GOLDEN = json.loads((Path(__file__).parent / "freeze.json").read_text("utf-8"))


@spec
class Echo(Task):
    """Say a word again: a whole world, for this file alone."""

    world: str = "echo"
    instructions: int = 2
    unseen_instructions: int = 2
    examples: int = 64
    rule_seed: int = 0
    example_seed: int = 0
    layout: ClassVar[Layout] = Layout("ab", 6, 5)

    def split(self):
        return ["a", "bab"]

    def training(self, split):
        return Examples.of(self.layout, [(f"{word}=", word) for word in split * (self.examples // 2)])

    def evaluation(self, split, size, seed):
        return {name: self.training(split) for name in ("seen", "unseen")}


def test_a_world_of_ones_own_is_stored_trained_and_read_again(monkeypatch, tmp_path):
    from unseen.runs.store import Store
    from unseen.runs.sweep import frame
    from unseen.runs.workers import Serial

    run = SMALL.but(task=Echo())
    with pytest.raises(ValueError, match=r"task\.world='echo': known worlds are"):
        RunSpec.from_dict(run.to_dict())
    monkeypatch.setitem(worlds.WORLDS, "echo", Echo)
    assert RunSpec.from_dict(run.to_dict()) == run
    store = Store(tmp_path)
    assert frame([run], store, Serial())["instructions"].tolist() == [2, 2]
    assert store.model(run).shape.context == 10


@pytest.mark.parametrize("name", freeze.TASKS)
def test_a_digest_stands_for_the_same_data_for_ever(name):
    """A spec that draws something else needs another digest: stored runs would answer for data that they
    never saw.

    Where NumPy's generators draw otherwise (it does not promise that they never will) the golden values are
    the older NumPy's: see ``freeze.json``.
    """
    assert freeze.drawn(name) == GOLDEN["data"][name], (
        f"drawn by NumPy {np.__version__}, golden by {GOLDEN['numpy']}"
    )


@pytest.mark.parametrize("name", freeze.RECIPES)
def test_fifty_steps_of_every_recipe_and_tuning_lead_where_they_led(name):
    norm, loss = freeze.trained(name)
    golden = GOLDEN["weights"][name]
    assert norm == pytest.approx(golden["norm"], rel=1e-3)  # other processors round otherwise
    assert loss == pytest.approx(golden["loss"], rel=1e-2)
