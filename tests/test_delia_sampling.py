"""Self-sampling: what a model of DELIA's world answers, and the blocks of rows that tunings mix."""

import numpy as np
import pytest
import torch

from unseen.delia import bases, methods, samples, sampling
from unseen.delia.messages import pair
from unseen.delia.pipeline import Samples, hinted
from unseen.delia.prompts import conversation, diverse
from unseen.delia.sampling import Own, ensure_samples, sampled
from unseen.delia.spec import TuningSpec
from unseen.delia.world import prompts_of
from unseen.encoding import layout_of
from unseen.evaluation import greedy_answers
from unseen.model import Shape, build
from unseen.running.workers import Serial
from unseen.store import Store

TASK = TuningSpec()


@pytest.fixture(scope="module")
def base():
    """The base that comes with the project."""
    return Store(bases.shelf()).model(methods.base_run("quick"))


@pytest.fixture
def babbler():
    """A model that says anything, and ends some of its answers."""
    spec = methods.base_run("smoke")
    model = build(spec.model, Shape.of(layout_of(spec.task)))
    generator = torch.Generator().manual_seed(1)
    for weight in model.parameters():
        weight.data.normal_(generator=generator)
    model.head.data[layout_of(TASK).special("end")] *= 2
    return model


def asked(count, block=0):
    return [hinted(query.content, query.answer) for query in diverse(count, block, "one")]


def test_without_a_choice_a_model_says_what_it_would_say_anyway_in_order_and_in_any_number(babbler):
    layout, questions = layout_of(TASK), asked(1_101)  # three chunks
    ids = greedy_answers(babbler, prompts_of(TASK, questions))
    wanted = [layout.answer(row) if layout.special("end") in row else None for row in ids]
    assert None in wanted
    assert len(set(wanted)) > 100
    assert Own(babbler, TASK.but(top_p=0.01), 0)(questions) == wanted


def test_a_seed_draws_its_own_answers_and_draws_them_again(babbler):
    questions = asked(50)
    first, again, other = (Own(babbler, TASK.but(temperature=5.0), seed)(questions) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    whole = Own(babbler, TASK.but(temperature=5.0), 1)([*questions, *questions])
    assert whole[:50] != whole[50:], "the same query is answered anew"


def test_a_base_answers_every_query_of_a_block_behind_its_right_answer(base, monkeypatch):
    shown = []

    class Watched(Own):
        def __call__(self, asked):
            shown.extend(asked)
            return super().__call__(asked)

    monkeypatch.setattr(sampling, "Own", Watched)
    found, queries = sampled(base, TASK, 3), diverse(samples.BLOCK, 3, "one")
    assert shown == [hinted(query.content, query.answer) for query in queries]
    assert len(found.rows) > 950
    assert np.mean([conversation(query) in found.rows for query in queries]) > 0.9, "it has learnt the language"


def test_blocks_ask_for_different_things():
    queries = [{query.content for query in diverse(samples.BLOCK, block, "one")} for block in range(3)]
    assert all(len(one & other) < 50 for i, one in enumerate(queries) for other in queries[:i])


def test_what_is_missing_is_sampled_once_and_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UNSEEN_RUNS", str(tmp_path))
    tunings = [methods.tuned("smoke", f"ratio {ratio}", ratio=ratio) for ratio in (2, 12)]
    bases.ready([tunings[0].base], Store(), Serial())
    runs, folder = [each.run for each in tunings], samples.folder_of(tunings[0].run.task)
    assert [samples.blocks_for(run.task.ratio * run.task.rows) for run in runs] == [1, 2]
    samples.keep(folder, 0, Samples([pair("copy this : AB", "AB")] * 7, 2, 1))  # of an earlier study: it stays
    capsys.readouterr()
    counted = ensure_samples(runs)
    assert "1 blocks of 1,000 queries" in capsys.readouterr().out
    assert samples.counts(folder, 1) == {"kept": 7, "malformed": 2, "rejected": 1}
    assert sum(counted.values()) == 1_010
    assert ensure_samples(runs) == counted
    assert ensure_samples(runs[:1]) == {"kept": 7, "malformed": 2, "rejected": 1}
    assert "queries" not in capsys.readouterr().out
    plain = methods.tuned("smoke", "plain").run
    assert ensure_samples([plain]) == {"kept": 0, "malformed": 0, "rejected": 0}
