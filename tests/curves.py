"""Results as a study would measure them, made from a curve: small frames for what reads and draws them."""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pandas as pd

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
