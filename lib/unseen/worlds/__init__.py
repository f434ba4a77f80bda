"""The task worlds: one class each, which draws its instructions and examples and answers them by its own
oracle.
"""

from unseen.worlds.base import Task
from unseen.worlds.compositions import CompositionSpec
from unseen.worlds.contexts import ContextSpec
from unseen.worlds.dialect import DialectSpec
from unseen.worlds.domains import DomainSpec
from unseen.worlds.drills import DrillSpec
from unseen.worlds.facts import FactsSpec
from unseen.worlds.gaps import GapsSpec, RequestsSpec
from unseen.worlds.language import LanguageSpec, OperationsSpec
from unseen.worlds.pool import PoolSpec
from unseen.worlds.strings import TaskSpec
from unseen.worlds.tapes import TapeSpec
from unseen.worlds.tuning import TuningSpec

# By the ``world`` that a stored task names; string rewriting names none.  A new world is one more name here.
WORLDS: dict[str, type[Task]] = {
    each.world: each
    for each in (
        TaskSpec,
        ContextSpec,
        DialectSpec,
        CompositionSpec,
        DomainSpec,
        DrillSpec,
        FactsSpec,
        GapsSpec,
        LanguageSpec,
        OperationsSpec,
        PoolSpec,
        RequestsSpec,
        TapeSpec,
        TuningSpec,
    )
}
