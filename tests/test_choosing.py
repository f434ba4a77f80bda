"""Choosing data: every method against a plain version of itself, the pool, and ``unseen choose``."""

import numpy as np
import pandas as pd
import pytest

from llamas import SIGNS, write_llama
from unseen.cli import main
from unseen.errors import NotFinished
from unseen.messages import load, pair, save
from unseen.runs.store import Store, ensure
from unseen.specs import RunSpec
from unseen.studies.arena import choosing, clusters, coverage, methods, novelty, own_pool, plain
from unseen.worlds import PoolSpec, pool

RNG = np.random.default_rng(0)
CLUSTERED = RNG.normal(size=(30, 8))[RNG.integers(30, size=600)] + 0.3 * RNG.normal(size=(600, 8))
SMALL = PoolSpec(instructions=30, examples=40, pool=200, unseen_instructions=20, concentration=0.4)


# Methods


@pytest.mark.parametrize(("alpha", "beta", "coded"), [(0, 0.5, False), (1, 0, True), (2, 0.5, True)])
def test_novelselect_is_the_plain_loop_that_computes_every_novelty_at_every_step(alpha, beta, coded):
    unit, sigma = plain.units(CLUSTERED), novelty.density(CLUSTERED, beta)
    own = sigma if coded else 0 * sigma
    chosen = [int(np.random.default_rng(3).integers(len(unit)))]
    for m in range(1, 40):
        apart = np.sort((1 - unit @ unit[chosen].T) * (own[:, None] + sigma[chosen]), axis=1)
        v = apart @ np.arange(1, m + 1, dtype=np.float32) ** -np.float32(alpha)
        v[chosen] = -np.inf
        chosen.append(int(v.argmax()))
    found = novelty.novelselect(CLUSTERED, 40, 3, alpha=alpha, beta=beta, coded=coded)
    assert found.tolist() == chosen


@pytest.mark.parametrize("coded", [False, True])
def test_novelsum_is_its_formula_and_density_the_distance_to_the_nearest(coded):
    x = CLUSTERED[:50]
    apart = np.sort(((x[:, None] - x) ** 2).sum(-1), axis=1)[:, 1:11]
    assert novelty.density(x, 0.5) == pytest.approx(apart.mean(1) ** -0.5, rel=1e-3)
    unit, sigma = plain.units(x).astype(float), novelty.density(x, 0.5, reference=CLUSTERED)
    values = []
    for i in range(len(x)):
        d = 1 - unit @ unit[i]
        near = sorted((d[j], (sigma[i] if coded else sigma[j]) * d[j]) for j in range(len(x)) if j != i)
        ranked = [0.0] * coded + [value for _, value in near]  # the code counts the row itself
        weights = 1 / np.arange(1, len(ranked) + 1)
        values.append(np.average(ranked, weights=weights))
    found = novelty.novelsum(x, beta=0.5, coded=coded, reference=CLUSTERED)
    assert found == pytest.approx(np.mean(values), rel=1e-4)


def test_greedy_coverage_always_adds_most():
    found = RNG.random((200, 40)) < 0.1
    chosen = coverage.greedy_cover(found, 60, 0)
    assert len(set(chosen.tolist())) == 60
    uncovered = np.ones(40, bool)
    for i, row in enumerate(chosen):
        rest = np.setdiff1d(np.arange(200), chosen[:i])
        gains = (found[rest] & uncovered).sum(1)
        if not gains.max():  # a new round
            uncovered[:] = True
            gains = found[rest].sum(1)
        assert (found[row] & uncovered).sum() == gains.max()
        uncovered &= ~found[row]


def test_quality_decides_within_a_cluster_and_iterative_kmq_moves_to_clusters_where_the_model_is_worse():
    quality = np.where(np.arange(600) % 2, 1.0, 0.0)
    assert (clusters.kmq(CLUSTERED, 100, 0, 5, quality=quality) % 2 == 1).all()
    x = np.repeat(np.eye(2), 300, axis=0)
    chosen = clusters.iterative_kmq(x, 90, 0, lambda rows: np.where(rows < 300, 0.0, 1.0), 3, 2)
    assert len(chosen) == 90
    assert (chosen[30:] >= 300).all()


def test_every_method_keeps_as_many_and_follows_from_its_seed():
    for method in own_pool.OFFERED:
        options = {"steps": 5, "latents": 32, "active": 4} if method == "sae" else {}
        chosen = [methods.METHODS[method](CLUSTERED, 30, seed, **options).tolist() for seed in (1, 1, 2)]
        assert len(chosen[0]) == len(set(chosen[0])) == 30
        assert chosen[0] == chosen[1]
        assert method == "longest" or chosen[0] != chosen[2]


# The pool


def test_near_duplicates_differ_in_one_letter_and_keep_their_answer_right():
    task = SMALL.but(near=0.5)
    lines = task.candidates(task.split())
    fresh = {(rule, z.tobytes()) for rule, z in zip(lines.rule[:100], lines.inputs[:100], strict=True)}
    for row in range(100, 200):
        line = lines.line(row)
        assert line.rule.apply(line.text) == line.answer
        assert line.text.count(line.rule.pattern) == 1
        apart = [sum(a != b for a, b in zip(np.frombuffer(z, np.uint8), lines.inputs[row], strict=True))
                 for rule, z in fresh if rule == lines.rule[row]]  # fmt: skip
        assert 1 in apart


def test_a_run_on_chosen_lines_is_its_spec(runs, monkeypatch):
    run = RunSpec(SMALL.but(chooser="k-center rule"))
    assert RunSpec.from_dict(run.to_dict()) == run
    with pytest.raises(NotFinished, match="nothing was chosen by 'k-center rule'"):
        run.task.training(run.task.split())
    taken = choosing.chosen(run)
    assert len(set(taken.tolist())) == 40
    monkeypatch.setattr(choosing, "_choose", None)  # kept: not chosen again
    assert choosing.chosen(run).tolist() == taken.tolist()
    lines = run.task.training(run.task.split())
    assert lines.prompts.tolist() == run.task.candidates(run.task.split()).prompts[taken].tolist()
    (kept,) = (runs / "chosen").glob("*/chosen.txt")
    kept.write_text("1\n2\n")
    with pytest.raises(Exception, match="was changed since it was written"):
        pool.stored(run.task)


def test_weights_stay_where_a_model_is_right_in_every_cluster_that_has_any():
    weights = np.array([0.0, 1.0, 0.0])  # the first was learned in an earlier round, and is wrong again
    found = clusters.reweighted(weights, np.array([0, 1]), np.array([1.0, 0.0]))
    assert found.tolist() == weights.tolist()


def test_iterative_kmq_trains_its_rounds_and_scouts_are_paid_in_steps(runs):
    ways = choosing.settings("smoke")
    free = ways[0]
    base = free.base.with_task(chooser="iterative-kmq scout clusters=4", wrong=0.2)
    (run,), (costly,) = (choosing.Chosen("it", base, (), (0,), paid=paid).runs() for paid in (False, True))
    scout = choosing.scout_of(run)
    assert run.task.scout == costly.task.scout == scout.digest()
    assert costly.training.steps == run.training.steps - scout.training.steps
    with pytest.raises(NotFinished, match="reads the scout"):
        choosing.chosen(run)
    ensure(scout, Store(), say=lambda line: None)
    taken = choosing.chosen(run)
    assert len(taken) == run.task.examples
    assert len(list((runs / "store").glob("*/manifest.json"))) == 1 + 2  # the scout and two rounds
    lines = run.task.candidates(run.task.split())
    worse, bad = choosing.gains(run, lines, taken), run.task.spoiled(lines.rule)[taken]
    assert worse[bad].mean() < worse[~bad].mean()


# A pool of one's own


@pytest.fixture
def own(tmp_path, runs):
    path = tmp_path / "pool.jsonl"
    topics = ("tides", "bread", "chess", "wool") * 15
    save(path, [pair(f"tell me of {each} {i}", f"{each} " * (1 + i % 7)) for i, each in enumerate(topics)])
    return path


def choose(path, *more, method="k-center", keep=6):
    return main(["choose", str(path), "--method", method, "--keep", str(keep),
                 "--out", str(path.with_name("chosen.jsonl")), *more])  # fmt: skip


@pytest.mark.parametrize("method", own_pool.OFFERED)
def test_chosen_rows_are_those_of_the_pool_and_the_table_says_which(own, capsys, method):
    assert choose(own, *(["-p", "steps=3"] if method == "sae" else []), *(
        ["-p", "clusters=4"] if method == "kmq" else []), method=method) == 0  # fmt: skip
    rows, chosen = load(own), load(own.with_name("chosen.jsonl"))
    table = pd.read_csv(own.with_name("chosen.csv"))
    assert [rows[number - 1] for number in table["row"]] == chosen
    assert table["order"].tolist() == [1, 2, 3, 4, 5, 6]
    assert table["place"][0] == f"line {table['row'][0]}"
    assert np.isnan(table["distance"][0])
    assert (table["distance"][1:] >= -1e-6).all()
    out = capsys.readouterr().out
    assert "no model is given" in out
    assert "6 of 60 rows chosen" in out


def test_vectors_are_computed_once_and_kept(own, monkeypatch):
    assert choose(own) == 0
    before = own.with_name("chosen.jsonl").read_bytes()
    monkeypatch.setattr(own_pool, "bags", None)
    assert choose(own) == 0
    assert own.with_name("chosen.jsonl").read_bytes() == before


def test_no_output_is_written_over_the_pool_or_the_table_or_into_a_folder_of_an_odd_name(own, capsys):
    """Also through a link, or by the table's name; a wrong place is named before anything is computed."""
    link, pool = own.with_name("link.jsonl"), own.rename(own.with_name("pool.csv"))
    link.symlink_to(pool)
    before = pool.read_bytes()
    for out, said in {
        link: "over the pool itself", own: "over the pool itself", "rows.csv": "end it in .jsonl",
        own.parent: "is a folder", pool / "x.jsonl": "cannot write", "": "out='': it is empty",
        "~nobody at all/x.jsonl": "no user of this machine", "$HOME/x.jsonl": "no shell has filled in",
    }.items():  # fmt: skip
        assert main(["choose", str(pool), "--method", "random", "--keep", "1", "--out", str(out)])
        said_and_done = capsys.readouterr()
        assert (said in said_and_done.err, said_and_done.out) == (True, ""), said_and_done
    assert pool.read_bytes() == before
    assert main(["choose", "C:\\pool.jsonl", "--method", "random", "--keep", "1", "--out", "x"]) == 2
    assert "pool='C:\\\\pool.jsonl': it is a path of Windows" in capsys.readouterr().err


@pytest.mark.parametrize(("more", "said"), [
    ({"method": "farthest"}, "method='farthest': known methods are random"),
    ({"keep": 61}, "keep=61: must be at least 1 and at most 60"), ({"keep": 0}, "keep=0"),
    ({"more": ["-p", "bta=1"]}, "bta=1: the parameters of k-center are none"),
    ({"method": "novelselect", "more": ["-p", "beta=much"]}, "beta=much: novelselect takes a number"),
    ({"more": ["--model", "nowhere"]}, "no such folder"),
])  # fmt: skip
def test_bad_input_is_named_before_anything_is_computed(own, monkeypatch, capsys, more, said):
    monkeypatch.setattr(own_pool, "vectors", None)
    assert choose(own, *more.pop("more", []), **more) == 2
    assert said in capsys.readouterr().err
    assert not own.with_name("chosen.jsonl").exists()


def test_a_local_model_reads_the_rows_whatever_else_is_in_the_batch(own, tmp_path, monkeypatch, capsys):
    from unseen.lm.load import checked
    from unseen.lm.load import load as loaded

    folder = write_llama(tmp_path / "llama", signs=SIGNS + "mfhbgkdw")
    texts = ["tell me", "tell me of tides 3 " * 40, ""]
    model = loaded(checked(folder))
    together = own_pool.embedded(model, texts)
    alone = np.concatenate([own_pool.embedded(model, [text]) for text in texts])
    assert together == pytest.approx(alone, abs=1e-5)
    assert choose(own, "--model", str(folder)) == 0
    first = own.with_name("chosen.jsonl").read_bytes()
    assert "no model is given" not in capsys.readouterr().out
    monkeypatch.setattr(own_pool, "load", None)  # its vectors are kept: it is not loaded again
    assert choose(own, "--model", str(folder)) == 0
    assert own.with_name("chosen.jsonl").read_bytes() == first
