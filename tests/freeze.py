"""Golden values: the data behind a digest, and where training leads.  ``python tests/freeze.py`` writes
``freeze.json`` anew.

Nobody should need that: a change of these values means that stored runs no longer are what their digest says.
"""

import hashlib
import json
import sys
from functools import cache
from pathlib import Path

import numpy as np

from unseen import worlds
from unseen.model import Transformer
from unseen.objectives import objective_of
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec
from unseen.training import batch_rows, data_of, start, train

FEW = {"instructions": 50, "unseen_instructions": 50, "examples": 1_000}
TASKS = {
    "strings": worlds.TaskSpec(**FEW),
    "no-ops": worlds.TaskSpec(
        **FEW, no_op_share=0.3, also_occurrences="2", input_length=12, cipher="shift:1"
    ),
    "long tail": worlds.TaskSpec(**FEW, concentration=0.3),
    "families": worlds.TaskSpec(
        **FEW, family="mixed", pattern_length=6, replacement_length=6, input_length=20, k_low=2, k_high=3
    ),
    "long strings": worlds.TaskSpec(**FEW, pattern_length=20, replacement_length=18, input_length=50),
    "decoys": worlds.TaskSpec(**FEW, input_length=32, occurrences=2, also_occurrences="1", decoys=2),
    "decoys anywhere": worlds.TaskSpec(**FEW, decoys=2, decoys_at="anywhere"),
    "rule behind": worlds.TaskSpec(**FEW, position="behind"),
    "rule on both sides": worlds.TaskSpec(**FEW, position="both"),
    "mixed orders": worlds.TaskSpec(**FEW, position="mixed"),
    "pool": worlds.PoolSpec(
        instructions=50, unseen_instructions=50, examples=300, pool=1_000, wrong=0.2, concentration=0.3
    ),
    "tapes": worlds.TapeSpec(**FEW),
    "drills": worlds.DrillSpec(**FEW),
    "domains": worlds.DomainSpec(letter_examples=400, algebra_examples=300, list_examples=300),
    "language": worlds.LanguageSpec(examples=1_000, names="both"),
    "dialect": worlds.DialectSpec(examples=1_000),
    "compositions": worlds.CompositionSpec(examples=1_000),
    "operations": worlds.OperationsSpec(examples=1_000),
    "contexts": worlds.ContextSpec(examples=1_000),
    "facts": worlds.FactsSpec(examples=1_000),
    "gaps": worlds.GapsSpec(examples=1_000),
    "requests": worlds.RequestsSpec(pool=1_000, examples=500),
    "small task": worlds.TuningSpec(operations=4, after=True),
    "replay": worlds.TuningSpec(ratio=9, diverse="replay"),
    "reference": worlds.TuningSpec(ratio=9, diverse="reference"),
    "narrow": worlds.TuningSpec(ratio=9, diverse="narrow"),
    "paraphrases": worlds.TuningSpec(ratio=9, diverse="paraphrases", operations=3, names="both", after=True),
}
_STEPS = TrainingSpec(steps=50, batch=32, evaluate_every=25, checkpoint_every=50)
_TUNING = _STEPS.but(learning_rate=1e-3, matrix_learning_rate=0.0)
_BASE = RunSpec(
    worlds.LanguageSpec(examples=2_000),
    ModelSpec(layers=1, width=32),
    _STEPS.but(learning_rate=0.01),
    EvaluationSpec(100),
)
RECIPES = {
    "modern": (ModelSpec(layers=2, width=32), _STEPS),
    "no help": (ModelSpec(layers=2, width=32, look_back=0, prompt_attention="causal"), _STEPS),
    "gpt2": (ModelSpec("gpt2", layers=2, width=32, mlp_ratio=4), _TUNING.but(decay_share=1.0)),
    "all weights": (None, _TUNING),
    "token rate": (None, _TUNING.but(token_rate=1e-2)),
    "token alone": (None, _TUNING.but(trains="token")),
    "adapter": (None, _TUNING.but(trains="adapter")),
    "kl and pull": (None, _TUNING.but(kl=1.0, pull=0.01)),
    "smoothing": (None, _TUNING.but(smoothing=0.1)),
}


def drawn(name: str) -> list[str]:
    """The digest of a run on a task, and a hash of all that it reads: examples, their order, and the
    evaluation.
    """
    spec = RunSpec(TASKS[name], training=TrainingSpec(batch=64), evaluation=EvaluationSpec(200))
    data, found = data_of(spec), hashlib.sha256()
    for examples in (data.training, *data.evaluation.values()):
        for part in (examples.prompts, examples.answers, examples.rule, examples.applies):
            found.update(np.ascontiguousarray(part).tobytes())
    for step in range(2 * spec.task.examples // spec.training.batch):
        found.update(batch_rows(spec.task, spec.training, step).astype(np.int64).tobytes())
    return [spec.digest(), found.hexdigest()[:16]]


@cache
def _base() -> Transformer:
    return train(_BASE, start(_BASE), data_of(_BASE)).model


def trained(name: str) -> tuple[float, float]:
    """The norm of all weights after 50 steps of a recipe, or of a tuning of a base, and the loss then."""
    model, training = RECIPES[name]
    if model:
        spec = RunSpec(worlds.TaskSpec(instructions=60, examples=2_000), model, training, _BASE.evaluation)
        state, base = start(spec), None
    else:
        base = _base()
        spec = RunSpec(
            worlds.TuningSpec(ratio=4, diverse="reference"),
            _BASE.model.but(base=_BASE.digest()),
            training,
            _BASE.evaluation,
        )
        state = start(spec)
        state.model.load_state_dict(base.state_dict())
    train(spec, state, data_of(spec), objective=objective_of(training, base))
    norm = sum(p.detach().double().square().sum().item() for p in state.model.parameters()) ** 0.5
    return norm, state.history[-1]["loss"]


if __name__ == "__main__":
    golden = {
        "numpy": np.__version__,
        "data": {name: drawn(name) for name in TASKS},
        "weights": {name: dict(zip(("norm", "loss"), trained(name), strict=True)) for name in RECIPES},
    }
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("freeze.json")
    path.write_text(json.dumps(golden, indent=1) + "\n", "utf-8")
