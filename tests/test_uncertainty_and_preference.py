"""Notebook 34: rows of known uncertainty, what UAL smooths, which answers AEPO has compared, and DPO."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from unseen import objectives
from unseen.evaluation import log_probabilities
from unseen.lm import load, tune
from unseen.model import Shape, build
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec
from unseen.studies import real_model
from unseen.studies.arena import aepo, answers, real, ual
from unseen.training import Data, State, optimizers_of, train
from unseen.worlds.dialect import KINDS, Compound, DialectSpec, entropy
from unseen.worlds.styles import lines, styles

TASK = DialectSpec(examples=480)
RUN = RunSpec(
    TASK, ModelSpec(layers=1, width=16, heads=2), TrainingSpec(steps=4, batch=8), EvaluationSpec(48)
)


@pytest.fixture(scope="module")
def model():
    """Says something, and ends its answers now and then."""
    made = build(RUN.model, Shape.of(TASK.layout))
    made.head.data.normal_(generator=torch.Generator().manual_seed(1))
    return made


# The dialect


def test_the_distribution_of_answers_is_right_by_hand():
    assert Compound("a b", ("reverse",), 0.0).answers("ABC") == {"CBA": 1.0}
    assert Compound("a b", ("sort", "copy"), 0.0).answers("ABC") == {"ABC": 1.0}  # both say the same
    assert Compound("a b", ("sort", "reverse"), 0.0).answers("BAC") == {"ABC": 0.5, "CAB": 0.5}
    noisy = Compound("a b", ("copy",), 0.5).answers("ABCD")
    assert noisy["ABCD"] == pytest.approx(0.5 + 0.5 / 11)  # ``sort`` says so too
    assert noisy["DCBA"] == pytest.approx(2 * 0.5 / 11)  # ``reverse`` and ``descend``
    assert sum(noisy.values()) == pytest.approx(1)
    assert entropy(noisy) == pytest.approx(-sum(p * np.log2(p) for p in noisy.values()))


def test_compounds_are_new_equally_often_asked_and_the_same_for_more_rows():
    split = TASK.split()
    assert [each.kind for each in split.seen] == [kind for kind in KINDS for _ in range(8)]
    assert len({each.words for each in split.seen}) == 24
    assert DialectSpec(examples=4_800, example_seed=3).split() == split
    assert TASK.but(rule_seed=1).split().seen != split.seen
    assert set(np.bincount(TASK.training(split).rule)) == {20}


# UAL


def test_equal_amounts_are_pytorchs_label_smoothing():
    logits = torch.randn(5, 3, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(15).view(5, 3) % 7
    for amount in (0.0, 0.1, 1.0):
        expected = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), label_smoothing=amount)
        assert ual.loss_of(logits, labels, torch.full((5,), amount)).item() == pytest.approx(expected.item())


def test_all_ways_of_smoothing_smooth_equally_much():
    rows = TASK.training_rows(TASK.split())
    every = {arm: ual.uncertainty_of(arm, RUN, rows) for arm in ("constant", "entropy", "shuffled")}
    amounts = {arm: ual.smoothing_of(each, 0.1) for arm, each in every.items()}
    assert all(each.mean() == pytest.approx(0.1) for each in amounts.values())
    assert sorted(every["shuffled"]) == sorted(every["entropy"])
    assert abs(np.corrcoef(every["shuffled"], every["entropy"])[0, 1]) < 0.15
    kinds = np.array([TASK.split().seen[row.compound].kind for row in rows])
    assert every["entropy"][kinds == "certain"].max() == 0
    assert set(every["entropy"][kinds == "shared"]) <= {0.0, 1.0}
    assert every["entropy"][kinds == "corrupted"].mean() > 2


@pytest.mark.parametrize(
    ("uncertain", "why"), [([0.0, 0.0], "all samples are certain"), ([0, 9.0], "over 1")]
)
def test_what_cannot_be_smoothed_is_refused(uncertain, why):
    with pytest.raises(ValueError, match=why):
        ual.smoothing_of(np.array(uncertain), 0.6)


def test_a_row_is_smoothed_by_its_own_amount(model):
    tokens = torch.from_numpy(TASK.training(TASK.split()).tokens()).long()
    plain = objectives.loss_of(model, tokens[:8])
    assert ual.objective("hard", RUN, 0.0)(model, tokens[:8]).item() == pytest.approx(plain.item())
    by_entropy, same = ual.objective("entropy", RUN, 0.1), ual.objective("constant", RUN, 0.1)
    assert by_entropy(model, tokens[:8]).item() == pytest.approx(plain.item())  # certain rows stay hard
    noisy = tokens[-8:]
    assert abs((by_entropy(model, noisy) - objectives.loss_of(model, noisy)).item()) > 0.1
    logits = model(noisy[:, :-1])
    expected = ual.loss_of(logits, noisy[:, -logits.size(1) :], torch.full((8,), 0.1))
    assert same(model, noisy).item() == pytest.approx(expected.item())
    own = ual.objective("student", RUN, 0.1)(model, noisy)
    assert own.item() == pytest.approx(objectives.smoothed(logits, noisy[:, -logits.size(1) :], 0.1).item())


class Says:
    """A model that gives the answers to each query the probabilities that it is told."""

    def __init__(self, layout, known):
        self.layout, self.known = (
            layout,
            {bytes(layout.prompts([query])[0]): each for query, each in known.items()},
        )

    def __call__(self, tokens):
        length, width = self.layout.answer_length, self.layout.prompt_length
        logits = torch.full((len(tokens), length, len(self.layout.vocabulary)), -50.0)
        for row, ids in zip(logits, tokens.to(torch.uint8).numpy(), strict=True):
            for answer, share in self.known[bytes(ids[:width])].items():
                said = self.layout.answers([answer])[0]
                for place in range(length):
                    if (said[:place] == ids[width : width + place]).all():
                        row[place, said[place]] = np.logaddexp(float(row[place, said[place]]), np.log(share))
        return logits


def test_the_truth_diverges_from_itself_by_nothing_and_certainty_by_what_it_leaves_out():
    split = TASK.split()
    rows = TASK.rows(split.seen, np.array([0, 9, 16]), np.random.default_rng(0))
    true = [split.seen[row.compound].answers(row.query.text) for row in rows]
    known = {f"{row.query.content}=": each for row, each in zip(rows, true, strict=True)}
    assert ual.divergences(TASK, Says(TASK.layout, known), rows, true) == pytest.approx(0, abs=1e-3)
    halves = {query: dict(zip(each, (0.9, 0.1), strict=False)) for query, each in known.items()}
    found = ual.divergences(TASK, Says(TASK.layout, halves), rows, true)
    assert found[1] == pytest.approx(0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1), abs=1e-3)
    teachers = [Says(TASK.layout, known), Says(TASK.layout, known)]
    certain, shared, _ = ual.teachers_entropy(teachers, TASK.of_rows(rows))
    assert (certain, shared) == (pytest.approx(0, abs=1e-3), pytest.approx(1, abs=1e-3))


# AEPO


def value(similar, chosen, trade):
    """f(Y) as printed, term by term."""
    k, size = len(chosen), len(similar)
    outside = sum(similar[i, j] for i in chosen for j in range(size) if i != j) / (k * (size - 1))
    inside = sum(similar[i, j] for i in chosen for j in chosen if i != j) / (k * (k - 1))
    return outside - trade * inside


@pytest.mark.parametrize("trade", [0.0, 0.5, 1.0, 2.0])
def test_the_pair_maximises_the_printed_formula(trade):
    for seed in range(20):
        states = F.normalize(torch.randn(8, 3, generator=torch.Generator().manual_seed(seed)), dim=1)
        similar = (states @ states.mT).numpy()
        best = max(combinations(range(8), 2), key=lambda two: value(similar, two, trade))
        assert tuple(aepo.representative(similar, trade)) == best


def found(rewards, number=4):
    """A pool of one prompt, whose answers are numbered."""
    examples = TASK.of_rows(TASK.rows(TASK.split().seen, np.array([0]), np.random.default_rng(0)))
    numbered = np.arange(number)[None, :, None].repeat(8, 2).astype(np.uint8)
    likely = np.arange(number)[None].astype(float)
    return aepo.Pool(examples.answers, numbered, np.array([rewards], float), likely, np.eye(number)[None])


@pytest.mark.parametrize(("how", "chosen", "rejected"), [
    ("random", 1, 0), ("west", 2, 3), ("likely", 3, 0), ("different", 1, 0),
])  # fmt: skip
def test_which_two_are_compared_and_the_better_one_first(how, chosen, rejected):
    rewards = [-3, -2, -1, -4] if how != "likely" else [-3, -2, -1, -2]
    pairs, about = aepo.pairs(aepo.Arm(how, 4), found(rewards), 0.0, np.random.default_rng(0))
    assert pairs[0].tolist() == [chosen] * 8 + [rejected] * 8
    assert about.to_numpy().tolist() == [[rewards[chosen], rewards[rejected]]]


def test_the_oracle_prefers_the_right_answer_to_the_nearest_wrong_one():
    pool = found([0, -2, -1, -4])
    pairs, about = aepo.pairs(aepo.Arm("oracle", 4), pool, 0.0, np.random.default_rng(0))
    assert pairs[0].tolist() == [*pool.right[0], *[2] * 8]
    assert about.to_numpy().tolist() == [[0, -1]]


def test_a_coin_or_noise_prefers_the_worse_answer_as_often_as_it_should():
    pool = found([-1, -2, 0, 0])

    def wrong(how, noise):
        dice = np.random.default_rng(0)
        drawn = [aepo.pairs(aepo.Arm(how, 4), pool, noise, dice)[1] for _ in range(300)]
        return np.mean([about.at[0, "chosen"] < about.at[0, "rejected"] for about in drawn])

    assert wrong("random", 0.0) == 0
    assert wrong("coin", 0.0) == pytest.approx(0.5, abs=0.12)
    assert 0.05 < wrong("random", 1.0) < 0.45


def test_every_arm_costs_the_same_annotations():
    for name in ("smoke", "quick", "full"):
        runs = {arm: aepo.preferring(name, arm, aepo.tuned(name)) for arm in aepo.ARMS}
        paid = {run.task.examples * aepo.ARMS[arm].annotated for arm, run in runs.items()}
        assert paid == {aepo.amounts("aepo", name).annotations}
        assert len({(run.training.steps, run.training.batch) for run in runs.values()}) == 1


def test_dpo_raises_the_chosen_answer_and_without_beta_nothing_moves(model):
    examples = TASK.training(TASK.split()).first(8)
    worse = np.roll(examples.answers, 1, axis=0)
    both = Data(SimpleNamespace(tokens=lambda: np.concatenate([examples.tokens(), worse], 1)))
    task = TASK.but(certain=8, shared=0, corrupted=0, examples=8)
    run = RUN.but(
        task=task, training=RUN.training.but(steps=10, matrix_learning_rate=0.0, learning_rate=1e-2)
    )
    for beta in (0.0, 1.0):
        copy = build(RUN.model, Shape.of(TASK.layout))
        copy.load_state_dict(model.state_dict())
        state = State(copy, optimizers_of(copy, run.training))
        train(run, state, both, objective=aepo.preference(model, beta, TASK.layout))
        gained = log_probabilities(copy, examples) - log_probabilities(model, examples)
        if beta:
            assert gained.mean() > 0.1
        else:
            assert all(torch.equal(a, b) for a, b in zip(copy.parameters(), model.parameters(), strict=True))


def test_answers_are_drawn_as_likely_as_the_model_says(model):
    prompt = TASK.training(TASK.split()).prompts[:1]
    drawn = answers.sampled(model, prompt.repeat(3_000, 0), TASK.layout, seed=0)
    end = TASK.layout.special("end")
    assert ((np.cumsum(drawn == end, 1) > 0) == (drawn == end)).all()  # nothing but ends behind the first end
    with torch.no_grad():
        first = model(torch.from_numpy(prompt).long())[0, 0].softmax(-1).numpy()
    often = np.bincount(drawn[:, 0], minlength=len(first)) / 3_000
    assert np.abs(often - first).max() < 0.04


# A real language model: the tiny one of ``smoke``


@pytest.fixture(scope="module")
def loaded(folder):
    return load.load(folder, "cpu")


CHOSEN = styles(0, certain=1, shared=1, corrupted=1)
ASKED = lines(0, CHOSEN, [0, 1, 2, 0, 1, 2], test=True)


def test_a_row_without_smoothing_has_the_usual_loss_and_all_of_it_that_of_the_uniform_distribution(loaded):
    rows = real.rows_of(loaded, ASKED)
    plain = tune.loss_of(loaded, rows).item()
    assert ual.smoothed_total(loaded, [(*row, 0.0) for row in rows]).item() == pytest.approx(plain)
    logits, right = tune.along_answers(loaded, rows)
    assert right.tolist() == [token for _, answer in rows for token in answer]
    uniform = -logits.log_softmax(-1).mean(1).sum().item()
    assert ual.smoothed_total(loaded, [(*row, 1.0) for row in rows]).item() == pytest.approx(uniform)
    mixed = ual.smoothed_total(loaded, [(*rows[0], 1.0), *((*row, 0.0) for row in rows[1:])]).item()
    first = len(rows[0][1])
    moved = (
        logits.log_softmax(-1)[range(first), right[:first]] - logits[:first].log_softmax(-1).mean(1)
    ).sum()
    assert mixed == pytest.approx(plain + moved.item(), rel=1e-5)


def test_an_oracle_answers_as_is_meant_and_holds_it_as_likely_as_it_is(loaded, monkeypatch):
    def likely(loaded, rows):
        texts = loaded.tokenizer.batch_decode([answer for _, answer in rows], skip_special_tokens=True)
        return np.log([share_of(prompt, text.strip()) for (prompt, _), text in zip(rows, texts, strict=True)])

    def share_of(prompt, text):
        line = next(line for line, (ids, _) in zip(ASKED, known, strict=True) if ids == prompt)
        return next(
            share for form, share in CHOSEN[line.style].shares().items()
            if load_text(line.right(form)) == text
        )  # fmt: skip

    def load_text(text):
        ids = real.rows_with(loaded, ASKED[:1], [text])[0][1]
        return loaded.tokenizer.decode(ids, skip_special_tokens=True).strip()

    known = real.rows_of(loaded, ASKED)
    meant = [line.right(CHOSEN[line.style].forms[0]) for line in ASKED]
    monkeypatch.setattr(real, "written", lambda *_: meant)
    monkeypatch.setattr(real, "likely", likely)
    found = {row["kind"]: row for row in ual.scored_real(loaded, CHOSEN, ASKED)}
    assert {row["right"] for row in found.values()} == {1}
    assert [found[kind]["deserved"] for kind in KINDS] == pytest.approx([1, 0.5, 0.5])
    for row in found.values():
        assert (row["divergence"], row["gap"]) == (pytest.approx(0, abs=1e-9), pytest.approx(0))
    monkeypatch.setattr(real, "written", lambda *_: [None] * len(ASKED))
    monkeypatch.setattr(real, "likely", lambda loaded, rows: np.zeros(len(rows)))
    for row in ual.scored_real(loaded, CHOSEN, ASKED):
        assert (row["right"], row["ended"], row["confidence"], row["gap"]) == (0, 0, None, None)


def test_a_table_of_smoothing_on_a_real_model_is_read_again(folder, runs, monkeypatch):
    table = ual.measure_real("smoke", folder)
    assert table.groupby(["seed", "arm"]).size().eq(len(KINDS)).all()
    assert {*table["arm"]} == {*ual.REAL_ARMS}
    monkeypatch.setattr(real, "begun", None)
    assert ual.measure_real("smoke", folder).equals(table)


def test_a_state_is_the_mean_over_the_answers_tokens_alone(loaded):
    rows = real.rows_of(loaded, ASKED)
    found = aepo.real_embedded(loaded, rows)
    for (prompt, answer), state in zip(rows, found, strict=True):
        ids = torch.tensor([prompt + answer])
        with torch.no_grad():
            last = loaded.model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0]
        assert torch.allclose(state, last[len(prompt) : -1].mean(0), atol=1e-5)


def test_dpo_of_a_real_model_raises_the_chosen_answer_from_where_it_was(folder, runs):
    work = real.Work(aepo.REAL, "all", "smoke", real_model.adapter("smoke").but(steps=8), "base")
    asked, _, loaded = aepo.begun_real(work, folder)
    both = np.array([[line.right(), "wrong"] for line in asked])
    rows = [real.rows_with(loaded, asked, list(texts)) for texts in both.T]
    before = [real.likely(loaded, each) for each in rows]
    same = [(*one, other[1], *was) for one, other, *was in zip(*rows, *before, strict=True)]
    start = aepo.preferred_total(1.0, loaded, same).item()
    assert start == pytest.approx(len(same) * np.log(2), rel=1e-3)
    aepo.prefer(loaded, work, asked, both)
    gained = [real.likely(loaded, each) - was for each, was in zip(rows, before, strict=True)]
    assert (gained[0] - gained[1]).mean() > 0.01
    assert aepo.preferred_total(1.0, loaded, same).item() < start


def test_preferences_on_a_real_model_cost_the_same_and_their_table_is_read_again(folder, runs, monkeypatch):
    table = aepo.measure_real("smoke", folder)
    assert {*table["arm"]} == {aepo.UNTUNED, *aepo.REAL_ARMS}
    assert {*table["annotations"].dropna()} == {aepo.amounts(aepo.REAL, "smoke").annotations}
    assert table.set_index("arm").loc["West-of-8", "prompts"].eq(2).all()
    monkeypatch.setattr(real, "begun", None)
    assert aepo.measure_real("smoke", folder).equals(table)
