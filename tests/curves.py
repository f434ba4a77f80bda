"""Results as a study would measure them, made from a curve: small frames for what reads and draws them."""

import json
import warnings
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from unseen import report
from unseen.files import project_folder
from unseen.studies.results import committed_table

SIZES = (10, 50, 100, 150, 200, 300, 500, 1_000, 3_000)


def step_at(middle: float, steepness: float = 4.0, top: float = 1.0) -> Callable[[float], float]:
    """An accuracy that steps at a number of instructions."""
    return lambda size: top / (1 + (middle / size) ** steepness)


_STEP = step_at(180)


def results(
    unseen: Callable[[float], float] = _STEP,
    seeds: Sequence[int] = (0, 1, 2),
    sizes: Sequence[int] = SIZES,
    setting: str = "main",
    noise: float = 0.0,
) -> pd.DataFrame:
    """The frame of ``curve.measure`` with a given curve on unseen instructions, and 0.98 on seen ones."""
    rng, rows = np.random.default_rng(len(sizes)), []
    model = {"setting": setting, "recipe": "modern", "layers": 4, "width": 64}
    task = {"pattern_length": 3, "input_length": 10}
    for seed, size, (split, right) in product(seeds, sizes, (("seen", lambda _: 0.98), ("unseen", unseen))):
        accuracy = float(np.clip(right(size) + noise * rng.standard_normal(), 0, 1))
        drawn = {
            "instructions": size,
            "examples_per_instruction": 54_000 / size,
            "seed": seed,
            "split": split,
        }
        score = {"accuracy": accuracy, "low": max(0.0, accuracy - 0.02), "high": min(1.0, accuracy + 0.02)}
        cost = {"examples": 2_000, "seconds": 20.0, "run": f"{setting}-{size}-{seed}"}
        rows.append(model | task | drawn | score | cost)
    return pd.DataFrame(rows)


def baselines(sizes: Sequence[int] = SIZES, seeds: Sequence[int] = (0, 1, 2)) -> pd.DataFrame:
    """The frame of ``curve.baselines``."""
    names = ["baseline", "split", "instructions", "seed"]
    index = pd.MultiIndex.from_product([["oracle", "copy", "nearest rule"], ["seen", "unseen"], sizes, seeds])
    frame = pd.DataFrame(index.to_list(), columns=names)
    right = (frame["baseline"] == "oracle") | (
        (frame["baseline"] == "nearest rule") & (frame["split"] == "seen")
    )
    frame = frame[["baseline", "instructions", "seed", "split"]]
    return frame.assign(accuracy=right.astype(float), examples=2_000)


def on_committed_results(notebook: str, monkeypatch: Any, study: Any, scale: str = "quick") -> dict[str, Any]:
    """Run the code cells of a notebook with the committed results in place of training; the names that they
    leave.

    The notebooks are run as a whole at ``smoke``, where nothing is learned, and at ``show``, with ``full``.
    """
    cells = json.loads((project_folder() / "notebooks" / f"{notebook}.ipynb").read_text("utf-8"))["cells"]
    monkeypatch.setattr(study, "measure", lambda *_, **__: committed_table(notebook, scale))
    monkeypatch.setattr(report, "write_table", lambda *_: None)
    monkeypatch.setattr(report, "write_figure", lambda *_: None)
    monkeypatch.setenv("UNSEEN_HEADLESS", "1")
    names: dict[str, Any] = {"display": lambda *_: None}
    with warnings.catch_warnings(), plt.rc_context({"backend": "agg"}):
        warnings.simplefilter("error")
        for cell in cells:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), names)
            if "parameters" in cell["metadata"].get("tags", ()):
                names["scale"] = scale
        for number in plt.get_fignums():
            plt.figure(number).canvas.draw()
        plt.close("all")
    return names
