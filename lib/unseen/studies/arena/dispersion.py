"""DAPT: prompts for two frozen towers, tuned on a few shots with losses of dispersion.

*Claim.* Losses that push the texts of classes apart and pull pictures to the middle of their class raise
few-shot accuracy over the same prompts without them, most with the fewest shots.
*Source.* Cho and others, ICCV 2023, arXiv 2309.03406, and the released code (mlvlab/DAPT, MIT).
*Formula.* Towers stay frozen; learned vectors stand before the text of a class, and before the tokens of
a picture.  Loss = cross-entropy of scaled cosines + β_v mean squared error (picture, prototype of its
class) + β_t mean over pairs of classes of exp(-2 |f_a - f_b|²).  A prototype is the mean of the features of
a class's shots without prompts.
*Ours.* Two small towers (``towers``), four vectors in place of sixteen, and β and rates that are chosen once,
on a seed that is not reported; the paper tunes β for each data set.
*The study.* Every arm at every number of shots, on towers of its own per seed.

    >>> inter(torch.eye(3)).item() < inter(torch.ones(3, 3) / 3**0.5).item()
    True
    >>> [spec.seed for spec in towers("smoke")]
    [0, 1]
"""

from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unseen.files import runs_folder, seal
from unseen.model import seeded
from unseen.once import once
from unseen.scales import amounts
from unseen.studies.arena.towers import Towers, TowersSpec, ensured, pictures, texts
from unseen.worlds.base import generator


@dataclass(frozen=True)
class Prompting:
    """What is trained: prompts of the ``text`` or of the ``picture`` tower, a linear ``probe`` of frozen
    features, or ``all`` weights; which dispersions count, and if with ``shuffled`` prototypes: those of
    another operation.
    """

    trains: tuple[str, ...] = ()
    inter: bool = False
    intra: bool = False
    shuffled: bool = False


BOTH = ("text", "picture")
ARMS = {
    "zero-shot": Prompting(),
    "text prompts": Prompting(BOTH[:1]),
    "visual prompts": Prompting(BOTH[1:]),
    "both": Prompting(BOTH),
    "both + inter": Prompting(BOTH, inter=True),
    "both + intra": Prompting(BOTH, intra=True),
    "DAPT": Prompting(BOTH, inter=True, intra=True),
    "DAPT, shuffled prototypes": Prompting(BOTH, inter=True, intra=True, shuffled=True),
    "linear probe": Prompting(("probe",)),
    "full tuning": Prompting(("all",)),
}
ORACLE = "oracle: both, many shots"


# The method


def inter(features: Tensor) -> Tensor:
    """How close the unit features (K, C) of classes are: the mean of exp(-2 |f_a - f_b|²) over pairs."""
    return torch.pdist(features).square().mul(-2).exp().mean()


def loss_of(
    seen: Tensor, said: Tensor, labels: Tensor, middles: Tensor, scale: Tensor, betas: tuple[float, float]
) -> Tensor:
    """DAPT's loss of pictures' features (B, C) and classes' (K, C), with prototypes ``middles`` (K, C).

    ``betas`` weigh the squared distance to the prototype and the closeness of the classes.
    """
    fit = F.cross_entropy(scale * seen @ said.mT, labels)
    return fit + betas[0] * F.mse_loss(seen, middles[labels]) + betas[1] * inter(said)


def prototypes(features: Tensor, labels: Tensor) -> Tensor:
    """The mean feature (K, C) of each class."""
    return torch.stack([features[labels == each].mean(0) for each in labels.unique()])


class Tuned(nn.Module):
    """Two towers with what an arm trains."""

    def __init__(self, towers: Towers, arm: Prompting, spec: TowersSpec):
        super().__init__()
        self.towers, self.classes = deepcopy(towers), texts(spec.classes)
        shape = spec.vectors, spec.width
        drawn = {side: nn.Parameter(0.02 * torch.randn(shape)) for side in BOTH if side in arm.trains}
        self.prompts = nn.ParameterDict(drawn)
        self.probe = nn.Linear(spec.width, len(spec.classes)) if "probe" in arm.trains else None
        self.towers.requires_grad_("all" in arm.trains)

    def features(self, shown: Tensor) -> tuple[Tensor, Tensor]:
        """The features of pictures (B, C) and of the classes (K, C)."""
        prompts = dict(self.prompts.items())
        return (
            self.towers.picture(shown, prompts.get("picture")),
            self.towers.text(self.classes, prompts.get("text")),
        )

    def says(self, shown: Tensor) -> Tensor:
        """The likeliest class of each picture (B,)."""
        seen, said = self.features(shown)
        return (seen @ said.mT if self.probe is None else self.probe(seen)).argmax(1)


def tuned(towers: Towers, arm: Prompting, spec: TowersSpec, shots: int, much: SimpleNamespace) -> Tuned:
    """An arm after its tuning on so many pictures of each class: SGD, the rate falling as a cosine."""
    labels = torch.arange(len(spec.classes)).repeat(shots)
    shown = pictures(spec.classes * shots, generator(spec.seed, "shots"))
    with seeded(spec.seed):
        model = Tuned(towers, arm, spec)
    middles = prototypes(towers.picture(shown), labels)
    middles = middles.roll(2, 0) if arm.shuffled else middles
    betas = much.betas[0] * arm.intra, much.betas[1] * arm.inter
    if not arm.trains:
        return model
    trained = [each for each in model.parameters() if each.requires_grad]
    rate = much.rates[0] if model.prompts else much.rates[1 + ("all" in arm.trains)]
    optimizer = torch.optim.SGD(trained, rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, much.updates)
    rng, scale = generator(spec.seed, "order of shots"), towers.scale.exp()
    for _ in range(much.updates):
        rows = rng.choice(len(labels), min(32, len(labels)), replace=False)
        seen, said = model.features(shown[rows])
        if model.probe is None:
            loss = loss_of(seen, said, labels[rows], middles, scale, betas)
        else:
            loss = F.cross_entropy(model.probe(seen), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model


# The study


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
