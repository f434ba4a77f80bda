"""LESS: of a pool, train on the rows whose gradients point where those of a few rows of the target do.

*Claim.* The 5 % of highest influence beat random 5 %, often the whole pool, and the rows nearest by hidden
state: so it is not by surface.
*Source.* Xia and others, ICML 2024, arXiv 2402.04333; released code (princeton-nlp/LESS, MIT).
*Formula.* Tune an adapter on random 5 % for four epochs.  At the end of epoch c, with Adam's moments m and v,
a row z of the pool has the direction Γ = (β1 m + (1 - β1) g) / sqrt(β2 v + (1 - β2) g² + ε), g its gradient.
Its influence is the mean over the target's rows of the sum over c of η_c cos(Γ_c(z), g_c(target's row)), η_c
the mean learning rate of the epoch.
*Ours.* Inner products are exact; ``projected`` has them in random directions, as the paper does.  The target
is one subtask, so no maximum over subtasks is taken.  All weights are tuned on what was chosen.
*The study.* The base knows the words and lacks the long half of four operations (``worlds.gaps``).  Each arm
takes a twentieth of the pool; all tune the base with equal updates, and the target is asked for in its own
words, other than the pool's.
*A real model.* SmolLM2 learns from adapters what made-up names mean, each a format of answers
(``worlds.styles``).  The target is one of the formats, asked for in plain words that the pool lacks.

    >>> update = direction(torch.tensor([0.0, 1.0]), torch.zeros(2), torch.ones(2))
    >>> [round(each, 3) for each in update.tolist()]
    [0.0, 0.1]
"""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn.functional import normalize

from unseen.evaluation import all_right, log_probabilities
from unseen.lm import tune
from unseen.lm.chat import Row
from unseen.lm.load import Loaded, load
from unseen.model import Transformer, differentiable
from unseen.objectives import loss_of
from unseen.optim import LowRankAdamW
from unseen.runs.following import by_arm, followed, kept
from unseen.runs.store import Store, begun
from unseen.runs.workers import Executor, Tell
from unseen.scales import amounts, each_seed
from unseen.specs import RunSpec
from unseen.studies import delia
from unseen.studies.arena import real
from unseen.studies.arena.answers import tuned
from unseen.studies.arena.bags import bags, bm25
from unseen.studies.arena.choosing import states
from unseen.studies.delia import ADAPTER, base_run, ready
from unseen.training import Data, schedule, train
from unseen.worlds import everyday
from unseen.worlds.base import Examples, generator
from unseen.worlds.gaps import OTHER, POOL, GapsSpec, RequestsSpec
from unseen.worlds.language import LONGEST
from unseen.worlds.styles import WORDS, Asked, Style, lines, styles

EPOCHS, BETAS, DIMENSIONS = 4, (0.9, 0.999), 512
_BATCH = 8  # rows of a step of the adapter
_AT_ONCE = 64  # rows whose gradients are held


def direction(gradient: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Adam's direction (N, F) for each gradient (N, F) alone, after the moments (F,) of training."""
    slow, slower = BETAS
    second = slower * second + (1 - slower) * gradient**2
    return (slow * first + (1 - slow) * gradient) / (second + 1e-8).sqrt()


def closeness(rows: Tensor, targets: Tensor) -> Tensor:
    """The mean cosine (N,) of each row (N, F) to targets (M, F)."""
    return normalize(rows) @ normalize(targets).mean(0)


def gradients(model: Transformer, adapter: LowRankAdamW, tokens: Tensor) -> Tensor:
    """The gradient (N, F) of the loss of each row (N, T) by the factors of an adapter."""
    names = {id(weight): name for name, weight in model.named_parameters()}
    whole = {name: weight.detach() for name, weight in model.named_parameters()}
    factors = {names[id(weight)]: (b.detach(), a.detach())
               for weight, (b, a) in zip(adapter.weights, adapter.pairs, strict=True)}  # fmt: skip
    rest = {name: whole[name] - (b @ a).view_as(whole[name]) for name, (b, a) in factors.items()}

    def loss(pairs: dict[str, tuple[Tensor, Tensor]], row: Tensor) -> Tensor:
        adapted = {name: rest[name] + (b @ a).view_as(rest[name]) for name, (b, a) in pairs.items()}
        return loss_of(partial(functional_call, model, whole | adapted), row[None])

    each = vmap(grad(loss), (None, 0))(factors, tokens)
    return torch.cat([factor.flatten(1) for pair in each.values() for factor in pair], 1)


def influences(run: RunSpec, rows: Tensor, targets: dict[str, Tensor], tell: Tell) -> dict[str, np.ndarray]:
    """The influence (N,) of rows (N, T) on each target (M, T), and on that of LESS in other ways."""
    per_epoch = max(1, run.task.examples // _BATCH)
    training = run.training.but(**ADAPTER, batch=_BATCH, steps=EPOCHS * per_epoch, evaluate_every=per_epoch)
    run = run.but(training=training)
    state = begun(run, Store(), "cpu")
    adapter = state.optimizers[0]
    differentiable(state.model)
    found = {name: np.zeros(len(rows)) for name in (*targets, "plain", "unnormalised", "projected")}
    size = sum(factor.numel() for pair in adapter.pairs for factor in pair)
    signs = torch.tensor(generator(0, "directions").choice([-1.0, 1.0], (size, DIMENSIONS))).float()

    def at_epoch(row: dict[str, float]) -> None:
        steps = range(int(row["step"]) - per_epoch, int(row["step"]))
        rate = training.learning_rate * np.mean([schedule(training, step) for step in steps])
        memory = [adapter.state[factor] for factor in adapter.param_groups[0]["params"]]
        moments = [torch.cat([each[name].flatten() for each in memory]) for name in ("exp_avg", "exp_avg_sq")]
        of = {name: gradients(state.model, adapter, each) for name, each in targets.items()}
        own = of["LESS"]
        for at in torch.arange(len(rows)).split(_AT_ONCE):
            tell(int(row["step"]))
            plain = gradients(state.model, adapter, rows[at])
            updates = direction(plain, *moments)
            ways = {name: closeness(updates, each) for name, each in of.items()}
            ways["plain"] = closeness(plain, own)
            ways["unnormalised"] = updates @ own.mean(0)
            ways["projected"] = closeness(updates @ signs, own @ signs)
            for name, each in ways.items():
                found[name][at] += rate * each.numpy()

    train(run, state, Data(run.task.training(run.task.split())), at_epoch)
    return found


def cost(run: RunSpec) -> int:
    """How many rows LESS reads with a gradient before it has chosen."""
    return EPOCHS * (run.task.examples + run.task.pool)


# The study

ARMS = {
    "untuned": "the base, untuned",
    "random": "random rows",
    "all": "the whole pool",
    "paid": "the whole pool, LESS's cost in updates",
    "hardest": "hardest for the base",
    "words": "nearest by words (BM25)",
    "states": "nearest by hidden state",
    "shuffled": "LESS, shuffled",
    "another": "LESS for another gap",
    "plain": "LESS, plain gradients",
    "unnormalised": "LESS, unnormalised",
    "LESS": "LESS",
    "oracle": "the target's own rows",
}
WHOLE = ("untuned", "all", "paid")  # arms that choose nothing
SAME = ("words", "states", "LESS")  # arms that also choose by target's rows in the pool's words; untrained
TARGETS = 8  # rows that say what is wanted
_SCORES = "less-scores-1"


def base_of(name: str) -> RunSpec:
    """The base of a scale: as DELIA's, pre-trained on the language with gaps."""
    base = base_run(name)
    return base.but(task=GapsSpec(examples=base.task.examples))


def tuning(name: str) -> RunSpec:
    """The tuning of a scale on a random 5 % of the pool."""
    much = amounts("less", name)
    task = RequestsSpec(pool=much.pool, examples=much.pool // 20)
    return delia.tuning(base_of(name), task, much.prompts, steps=much.updates, batch=much.batch)


def measure(name: str, executor: Executor | None = None) -> pd.DataFrame:
    """A row per arm and seed; what is missing is trained first.

    Columns: arm, words (of the target's rows that choose, ``other`` than the pool's or the ``same``), seed,
    chosen (rows), own (share of them that are about the target), long (about the target, on four letters),
    letters (mean length of their answers), right (greedy answers to the target in other words), worded (in
    the pool's words), language (right on the language at large), run.  Nothing is trained for the ``same``
    words.
    """
    ready([base_of(name)], executor)
    runs = each_seed("less", name, tuning(name)).runs()
    scores = followed(runs, follow_scores, _SCORES, executor, "compute influences for")
    untrained = [("projected", "other"), *((arm, "same") for arm in SAME)]
    chosen = pd.DataFrame([about(run, arm, table, words)
                           for run, table in zip(runs, scores, strict=True)
                           for arm, words in untrained])  # fmt: skip
    trained = by_arm(runs, follow_arm, "less-{}-1", ARMS, executor)
    return pd.concat([chosen, trained], ignore_index=True)


def follow_scores(run: RunSpec, tell: Tell) -> pd.DataFrame:
    """A row per row of the pool: operation, own (of the target), long, letters, and what arms choose by."""
    task, rng, base = run.task, generator(run.task.example_seed, "rows of the target"), Store().base(run)
    queries, other = task.candidates(), task.but(rule_seed=task.rule_seed + 1).target
    wanted = {"LESS": [OTHER], "LESS, same": [POOL], "another": [OTHER, other]}
    asked = {name: [task.asked(rng, *how) for _ in range(TARGETS)] for name, how in wanted.items()}
    rows, targets = task.rows(queries), {name: task.rows(each) for name, each in asked.items()}
    table = pd.DataFrame({
        "operation": [query.operation for query in queries],
        "own": [query.operation == task.target for query in queries],
        "long": [query.operation == task.target and len(query.text) == LONGEST for query in queries],
        "letters": [len(query.answer) for query in queries],
        "hardest": -log_probabilities(base, rows).numpy(),
    })  # fmt: skip
    for ending, name in (("", "LESS"), (", same", "LESS, same")):
        contents = [query.content for query in asked[name]]
        table[f"words{ending}"] = bm25([query.content for query in queries], contents)
        table[f"states{ending}"] = closeness(_asked(base, rows), _asked(base, targets[name]))
    ids = {name: torch.from_numpy(each.tokens()).long() for name, each in targets.items()}
    return table.assign(**influences(run, torch.from_numpy(rows.tokens()).long(), ids, tell))


def _asked(model: Transformer, rows: Examples) -> Tensor:
    """The state of each row's last prompt position (N, C)."""
    return torch.from_numpy(states(model, rows)[:, 0])


def chosen(run: RunSpec, arm: str, table: pd.DataFrame, words: str = "other") -> np.ndarray:
    """Which rows (n,) of the pool an arm takes, by the table of ``follow_scores``."""
    if words != "other":
        table = table.assign(**{arm: table[f"{arm}, {words}"]})
    return taken(run.task.example_seed, run.task.examples, arm, table)


def taken(seed: int, many: int, arm: str, table: pd.DataFrame) -> np.ndarray:
    """Which rows (n,) of a pool an arm takes, by a table of it: the first by the column of its name."""
    order = generator(seed, "random rows").permutation(len(table))
    if arm in WHOLE:
        return order
    by = table["own"] * 1.0 + table.get("long", 0) if arm == "oracle" else table.get(arm, 0 * order)
    if arm == "shuffled":
        by = generator(seed, "shuffled").permutation(table["LESS"])
    return order[np.argsort(-np.asarray(by)[order], kind="stable")][:many]


def about(run: RunSpec, arm: str, table: pd.DataFrame, words: str = "other") -> dict[str, object]:
    """The columns of ``measure`` that say what an arm chose."""
    taken = table.iloc[chosen(run, arm, table, words)]
    means = taken[["own", "long", "letters"]].mean().to_dict()
    return {"arm": arm, "words": words, "seed": run.task.rule_seed, "chosen": len(taken), **means}


def follow_arm(run: RunSpec, tell: Tell, arm: str) -> pd.DataFrame:
    """Tune the base on what an arm chose and measure it, for a worker."""
    table = kept(run, _SCORES)
    rows = run.task.rows(run.task.candidates()).where(chosen(run, arm, table))
    more = cost(run) // run.training.batch if arm == "paid" else 0
    longer = run.but(training=run.training.but(steps=run.training.steps + more))
    model = Store().base(run)
    if arm != "untuned":
        model = tuned(longer, rows, lambda row: tell(int(row["step"])))
    size, seed = run.evaluation.examples, run.evaluation.seed
    asked = run.task.evaluation(run.task.split(), size, seed)
    rng = generator(seed, "the target in the words of the pool")
    asked["worded"] = run.task.rows([run.task.asked(rng, POOL) for _ in range(size)])
    names = {"right": "unseen", "worded": "worded", "language": "seen"}
    scores = {name: float(all_right(model, asked[side]).mean()) for name, side in names.items()}
    return pd.DataFrame([{**about(run, arm, table), **scores, "run": run.digest()}])


# A real language model

REAL = "real_less"  # its table of scales
TUNED = {
    "untuned": ARMS["untuned"],
    "random": ARMS["random"],
    "all": ARMS["all"],
    "states": ARMS["states"],
    "letters": "nearest by letters of the answer",
    "LESS": ARMS["LESS"],
    "oracle": ARMS["oracle"],
}
UNTRAINED = ("words", "shuffled", "plain")  # arms that choose alone
TOGETHER = ("every arm",)  # a seed is one piece of work: its arms share what they choose by


def measure_real(name: str, folder: Path) -> pd.DataFrame:
    """A row per arm and seed; what is missing is done first.

    Columns: arm, target (a format), chosen (rows), own (share of them that mean it), right and format (of
    answers to the target), worded (right where the pool's names ask), unformatted (share of questions without
    a request that are answered in no format), and those of ``real.measure``.  ``UNTRAINED`` arms have no
    answers.
    """
    return real.measure(REAL, TOGETHER, name, folder, follow_real)


def follow_real(work: real.Work, folder: Path, tell: Tell) -> list[dict[str, Any]]:
    """Let each arm choose, tune the base on that and ask it, for a worker."""
    much, every, found = amounts(REAL, work.scale), styles_of(work), []
    (form,) = every[target_of(work)].forms
    pool, wanted, asked = drawn(work)
    table = real_scores(work, folder, pool, wanted, tell)
    for arm in (*TUNED, *UNTRAINED):
        which = taken(work.seed, much.chosen, arm, table)
        own = float(table["own"].iloc[which].mean())
        found.append({"arm": arm, "target": form, "chosen": len(which), "own": own})
        if arm in TUNED:
            loaded = real.begun(work, folder)
            rows = real.rows_of(loaded, [pool[row] for row in which])
            if arm != "untuned":
                tune.tune(loaded, work.training, rows, say=partial(tell, 0), watch=tell)
            found[-1] |= judged(loaded, asked)
    return found


def styles_of(work: real.Work) -> tuple[Style, ...]:
    """The styles of a seed, each certain."""
    return styles(work.seed, amounts(REAL, work.scale).styles)


def target_of(work: real.Work) -> int:
    """The number of the style whose format is the target."""
    return work.seed % amounts(REAL, work.scale).styles


def drawn(work: real.Work) -> tuple[list[Asked], list[Asked], dict[str, list[Asked]]]:
    """The pool, the rows of the target, and questions: about the target, by the pool's names, plain ones."""
    much, every, target = amounts(REAL, work.scale), styles_of(work), target_of(work)

    def of(role: str, which: Sequence[int], **how: bool) -> list[Asked]:
        return lines(work.seed, every, which, role=role, **how)

    evenly = [at % much.styles for at in range(max(much.pool, much.asked))]
    pool, wanted = of("pool", evenly[: much.pool]), of("target", [target] * TARGETS, words=True)
    asked = {
        "target": of("target", [target] * much.asked, test=True, words=True),
        "worded": of("names", evenly[: much.worded], test=True),
        "unformatted": [plain(line) for line in of("plain", evenly[: much.plain], test=True, words=True)],
    }
    return pool, wanted, asked


def plain(line: Asked) -> Asked:
    """The question of a line in plain words, without its request."""
    return line._replace(query=line.query.removesuffix(WORDS[line.form]).strip(), form=everyday.PLAIN)


def real_scores(
    work: real.Work, folder: Path, pool: Sequence[Asked], wanted: Sequence[Asked], tell: Tell
) -> pd.DataFrame:
    """A row per row of the pool: own (of the target), and what arms choose by."""
    answers = [torch.from_numpy(bags([line.written() for line in part])) for part in (pool, wanted)]
    base = load(folder, quick=True)
    asked = (real.last_states(base, real.prompts_of(base, part)) for part in (pool, wanted))
    return pd.DataFrame({
        "own": [line.style == target_of(work) for line in pool],
        "words": bm25([line.query for line in pool], [line.query for line in wanted]),
        "letters": closeness(*answers),
        "states": closeness(*asked),
    }).assign(**real_influences(work, folder, pool, wanted, tell))  # fmt: skip


def real_influences(
    work: real.Work, folder: Path, pool: Sequence[Asked], wanted: Sequence[Asked], tell: Tell
) -> dict[str, np.ndarray]:
    """The influence (N,) of rows of the pool on the target, and by plain gradients."""
    much, loaded = amounts(REAL, work.scale), real.begun(work, folder)
    rows, targets = real.rows_of(loaded, pool), real.rows_of(loaded, wanted)
    order = generator(work.seed, "random rows").permutation(len(pool))[: much.chosen]
    per_epoch = math.ceil(len(order) / work.training.batch)
    spec = work.training.but(steps=much.epochs * per_epoch)
    optimizer, weights = tune.adam(loaded, spec), [*tune.trained_weights(loaded).values()]
    found = {"LESS": np.zeros(len(rows)), "plain": np.zeros(len(rows))}

    def at_epoch(step: int) -> None:
        if step % per_epoch:
            return
        rate = np.mean([spec.rate(each, spec.steps) for each in range(step - per_epoch, step)])
        memory = [optimizer.state[weight] for weight in weights]
        moments = [torch.cat([each[name].flatten() for each in memory]) for name in ("exp_avg", "exp_avg_sq")]
        own = adapter_gradients(loaded, targets)
        for at in torch.arange(len(rows)).split(TARGETS):
            tell(step)
            gradients = adapter_gradients(loaded, [rows[row] for row in at])
            found["LESS"][at] += rate * closeness(direction(gradients, *moments), own).numpy()
            found["plain"][at] += rate * closeness(gradients, own).numpy()

    tune.tune(loaded, spec, [rows[row] for row in order], None, partial(tell, 0), at_epoch, None, optimizer)
    return found


def adapter_gradients(loaded: Loaded, rows: Sequence[Row]) -> Tensor:
    """The gradient (N, F) of the mean loss of each row's answer by the weights of an adapter."""
    found = []
    for row in rows:
        loaded.model.zero_grad()
        tune.backward(loaded, [row], 1, tune.ANSWERS)
        found.append(torch.cat([each.grad.flatten() for each in tune.trained_weights(loaded).values()]))
    return torch.stack(found).cpu()


def judged(loaded: Loaded, asked: dict[str, list[Asked]]) -> dict[str, float]:
    """The columns of ``measure_real`` that say what a model does."""
    said = {name: real.written(loaded, each, unended=name == "unformatted") for name, each in asked.items()}
    return scored(asked, said)


def scored(asked: dict[str, list[Asked]], said: dict[str, list[str | None]]) -> dict[str, float]:
    """The same, of answers to the questions of ``drawn``; those to plain ones need not end."""
    rights = {name: [line.right() for line in each] for name, each in asked.items()}
    plainly = [everyday.form_of(each) == everyday.PLAIN for each in said["unformatted"]]
    return {
        "right": everyday.SCORES["right"](said["target"], rights["target"]),
        "format": everyday.SCORES["format"](said["target"], rights["target"]),
        "worded": everyday.SCORES["right"](said["worded"], rights["worded"]),
        "unformatted": float(np.mean(plainly)),
    }
