"""The task worlds behind one interface: which functions draw the instructions and examples of which task.

String rewriting is the first; the others are packages of their own.  A world gives three functions:
``draw_split(task)``, ``training_examples(task, split)`` and ``evaluation_examples(task, split, evaluation)``.

    >>> data = data_of(RunSpec(task=TaskSpec(alphabet="abcdef", instructions=3, unseen_instructions=2, examples=6)))
    >>> len(data.training), sorted(data.evaluation)
    (6, ['seen', 'unseen'])
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from unseen.datasets import Examples, evaluation_examples, training_examples
from unseen.delia import world as delia
from unseen.delia.spec import LanguageSpec, TuningSpec
from unseen.domains import draw as domains
from unseen.domains.spec import DomainSpec
from unseen.instructions import draw_split
from unseen.pretrained import drills
from unseen.pretrained.spec import DrillSpec
from unseen.specs import EvaluationSpec, RunSpec, TaskSpec
from unseen.tapes import world as tapes
from unseen.tapes.spec import TapeSpec
from unseen.tasks import Task


class World(NamedTuple):
    """How the data of one kind of task is drawn; what a split holds is the world's own affair."""

    draw_split: Callable[[Any], Any]
    training_examples: Callable[[Any, Any], Examples]
    evaluation_examples: Callable[[Any, Any, EvaluationSpec], dict[str, Examples]]


WORLDS: dict[type[Task], World] = {
    TaskSpec: World(draw_split, training_examples, evaluation_examples),
    TapeSpec: World(tapes.draw_split, tapes.training_examples, tapes.evaluation_examples),
    DomainSpec: World(domains.draw_split, domains.training_examples, domains.evaluation_examples),
    LanguageSpec: World(delia.draw_split, delia.training_examples, delia.evaluation_examples),
    TuningSpec: World(delia.draw_split, delia.training_examples, delia.evaluation_examples),
    DrillSpec: World(drills.draw_split, drills.training_examples, drills.evaluation_examples),
}


@dataclass(frozen=True)
class Data:
    """What a run trains on and is scored on (``seen`` and ``unseen``), and the instructions they were drawn from."""

    split: Any
    training: Examples
    evaluation: dict[str, Examples]


def data_of(spec: RunSpec) -> Data:
    """Draw the instructions and examples of a run."""
    world = WORLDS[type(spec.task)]
    split = world.draw_split(spec.task)
    evaluation = world.evaluation_examples(spec.task, split, spec.evaluation)
    return Data(split, world.training_examples(spec.task, split), evaluation)
