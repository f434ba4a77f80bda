"""DAPT in notebook 35: every arm of ``dispersion`` at every number of shots, on towers of its own per seed.

>>> [spec.seed for spec in towers("smoke")]
[0, 1]
"""

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import torch

from unseen.files import runs_folder, seal
from unseen.once import once
from unseen.scales import amounts
from unseen.studies.arena.captions import pictures
from unseen.studies.arena.dispersion import ARMS, ORACLE, Tuned, inter, prototypes, tuned
from unseen.studies.arena.towers import TowersSpec, ensured
from unseen.worlds.base import generator


def towers(name: str) -> list[TowersSpec]:
    """The towers of a scale, one pair per seed."""
    much = amounts("dapt", name)
    return [TowersSpec(**much.towers, seed=seed) for seed in much.seeds]


def measure(name: str) -> pd.DataFrame:
    """A row per arm, number of shots and seed; what is missing is trained first.

    Columns: arm, shots, seed, right (share of fresh pictures of the held-out classes), operation (share whose
    operation is right), apart (the mean of exp(-2 |f_a - f_b|²) over pairs of classes: less is more
    dispersed), scattered (the mean squared distance of pictures to the middle of their class).
    """
    much, rows = amounts("dapt", name), []
    for spec in towers(name):
        for shots in much.shots:
            print(f"towers of seed {spec.seed}: {shots} shots of each class", flush=True)
            rows += tried(spec, shots, much)
    return pd.DataFrame(rows)


def tried(spec: TowersSpec, shots: int, much: SimpleNamespace) -> list[dict[str, Any]]:
    """All arms at one number of shots, tuned unless their rows are kept; raises as ``once``."""
    about = {"towers": asdict(spec), "shots": shots, "much": {**vars(much), "seeds": None}}
    folder = runs_folder() / "dapt" / seal(about)[:16]

    def make(place: Path) -> dict[str, Any]:
        frozen = ensured(spec)
        found = {name: tuned(frozen, arm, spec, shots, much) for name, arm in ARMS.items()}
        if shots == max(much.shots):
            found[ORACLE] = tuned(frozen, ARMS["both"], spec, much.oracle, much)
        rows = [{"arm": name, "shots": shots, "seed": spec.seed, **scored(model, spec, much.pictures)}
                for name, model in found.items()]  # fmt: skip
        return about | {"rows": rows}

    return once(folder, about, make)["rows"]


@torch.no_grad()
def scored(model: Tuned, spec: TowersSpec, each: int) -> dict[str, float]:
    """What a tuned model does on so many fresh pictures of each class."""
    labels = torch.arange(len(spec.classes)).repeat(each)
    shown = pictures(spec.classes * each, generator(spec.seed, "asked pictures"))
    seen, said = model.features(shown)
    says = model.says(shown)
    formats = len({format for _, format in spec.classes})  # classes of one operation stand side by side
    middle = prototypes(seen, labels)[labels]
    return {
        "right": float((says == labels).float().mean()),
        "operation": float((says // formats == labels // formats).float().mean()),
        "apart": float(inter(said)),
        "scattered": float((seen - middle).square().sum(1).mean()),
    }
