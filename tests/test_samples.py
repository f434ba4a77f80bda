"""Self-sampling: what a model of the language world answers, and the blocks of rows that tunings mix."""

import pytest
import torch

from unseen import samples
from unseen.evaluation import greedy_answers
from unseen.files import BrokenRun
from unseen.messages import Samples, hinted, pair
from unseen.model import Shape, build
from unseen.runs.workers import Serial
from unseen.studies import delia
from unseen.studies.delia import Own, ensure_samples, nucleus
from unseen.worlds.language import diverse, prompt_of
from unseen.worlds.tuning import TuningSpec

TASK = TuningSpec()


@pytest.fixture
def babbler():
    """A model that says anything, and ends some of its answers."""
    spec = delia.base_run("smoke")
    model = build(spec.model, Shape.of(spec.task.layout))
    generator = torch.Generator().manual_seed(1)
    for weight in model.parameters():
        weight.data.normal_(generator=generator)
    model.head.data[TASK.layout.special("end")] *= 2
    return model


def prompts(count, block=0):
    return [hinted(query.content, query.answer) for query in diverse(count, block, "one")]


@pytest.mark.parametrize(("temperature", "top_p", "shares"), [
    (1.0, 0.75, (0.625, 0.375, 0, 0)), (1.0, 0.01, (1, 0, 0, 0)), (0.1, 1.0, (1, 0, 0, 0)),
    (0.5, 0.6, (1, 0, 0, 0)),  # at temperature 1/2 shares are squared: 0.5 and 0.3 become 0.68 and 0.25
    (0.5, 0.9, (0.25 / 0.34, 0.09 / 0.34, 0, 0)),
])  # fmt: skip
def test_nucleus_sampling_takes_the_fewest_tokens_that_reach_p(temperature, top_p, shares):
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).expand(4_000, 4)
    drawn = nucleus(logits, temperature, top_p, torch.Generator().manual_seed(0))
    assert (drawn.bincount(minlength=4) / 4_000).tolist() == pytest.approx(shares, abs=0.03)
    if temperature > 0.1:
        assert set(drawn.tolist()) == {i for i, share in enumerate(shares) if share}


def test_the_smallest_nucleus_is_greedy_in_order_and_for_any_number(babbler):
    layout, questions = TASK.layout, prompts(1_101)  # three chunks
    ids = greedy_answers(babbler, layout.prompts([prompt_of(turns) for turns in questions]))
    expected = [layout.answer(row) if layout.special("end") in row else None for row in ids]
    assert None in expected
    assert len(set(expected)) > 100
    assert Own(babbler, TASK.but(top_p=0.01), 0)(questions) == expected


def test_a_seed_draws_its_own_answers_and_draws_them_again(babbler):
    questions = prompts(50)
    first, again, other = (Own(babbler, TASK.but(temperature=5.0), seed)(questions) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    whole = Own(babbler, TASK.but(temperature=5.0), 1)([*questions, *questions])
    assert whole[:50] != whole[50:], "the same query is answered anew"


def test_blocks_have_different_queries():
    queries = [{query.content for query in diverse(samples.BLOCK, block, "one")} for block in range(3)]
    assert all(len(one & other) < 50 for i, one in enumerate(queries) for other in queries[:i])


def test_what_is_missing_is_sampled_once_and_counted(runs, capsys):
    tunings = [delia.tuned("smoke", f"ratio {ratio}", ratio=ratio) for ratio in (2, 12)]
    delia.ready([tunings[0].pretraining], Serial())
    specs, folder = [each.base for each in tunings], samples.folder_of(tunings[0].base.task)
    assert [samples.blocks_for(spec.task.ratio * spec.task.rows) for spec in specs] == [1, 2]
    samples.ensure(folder, 0, lambda: Samples([pair("copy this : AB", "AB")] * 7, 2, 1))  # kept before
    capsys.readouterr()
    ensure_samples([*specs, delia.tuned("smoke", "plain").base])
    assert capsys.readouterr().out == "the base answers 1,000 queries (block 1)\n"
    counted = samples.counts(folder, 1)
    assert sum(counted[name] for name in samples.COUNTS) == 1_000
    ensure_samples(specs)
    assert not capsys.readouterr().out


@pytest.mark.parametrize("damage", [None, lambda text: text.replace('"A"', '"B"', 1), lambda text: ""])
def test_samples_that_are_not_what_was_written_are_refused_by_name(runs, damage):
    task = TuningSpec(ratio=1, source="0123456789abcdef")
    folder = samples.folder_of(task)
    samples.ensure(folder, 0, lambda: Samples([pair("copy this : AA", "A")] * 200, 0, 0))
    path = folder / "000" / "rows.jsonl"
    text = path.read_text()
    path.unlink()
    if damage:
        path.write_text(damage(text))
    with pytest.raises(BrokenRun, match=rf"rows.jsonl is missing or was changed .* delete {folder}/000"):
        samples.stored(task)
