"""The verdict on each published claim, from the tidy frame that its notebook leaves.

``claims.toml`` has the claims, and the parts of each with their borders; ``readings`` reads the numbers off
the frame, one per seed.  A part *holds* where their 95 % interval lies on the claimed side of its border,
*fails* where it lies on the other, and is *undecided* where the interval holds the border.  One rule makes a
verdict of these.

>>> few = pd.Series([0.1, 0.2, 0.3])
>>> [Part("right", few, least=border).state for border in (-0.1, 0.1, 0.5)]
['holds', 'undecided', 'fails']
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from unseen.files import hash_of, project_folder, seal, write
from unseen.scales import SHOW
from unseen.stats import interval, mean_interval, wilson
from unseen.studies import readings
from unseen.studies.results import COMMITTED, TEXTS, committed_folder, write_block

REPRODUCED, IN_PART, CONTRADICTED = "reproduced", "in part", "contradicted"
UNDECIDED, NOT_TESTABLE, NOT_RUN = "undecided", "not testable here", "not run"
STATES = (REPRODUCED, IN_PART, UNDECIDED, CONTRADICTED, NOT_TESTABLE, NOT_RUN)
HOLDS, FAILS = "holds", "fails"
_FORMS = {  # what values are: how they are written, in which unit, times what, and what is possible
    "share": (".1f", " %", 100, 0, 100),
    "points": ("+.1f", " points", 100, -100, 100),
    "number": ("+.2f", "", 1, -inf, inf),
    "factor": (".2f", " times", 1, 0, inf),
    "seeds": (".0f", " % of seeds", 100, 0, 100),
}
PAIRED = "paired"  # the judge of claims that one arm is above another
_COMPARES = ("value", "one", "other", "where")  # what a part of such a claim says besides what a Part does


@dataclass(frozen=True)
class Part:
    """What a claim says of one number: ``values``, one per seed, lie from ``least`` to ``most``.

    An ``effect`` counts by itself: a claim of which one holds is reproduced at least *in part*.  Other parts
    say how large it is or where, and may hold without any effect.  Where a ``control`` fails, nothing can be
    tested: what is missing may be missing because nothing at all was learned.

    ``of`` is a key of ``_FORMS``: the interval of a ``factor`` is that of its logarithm; ``seeds`` are true
    or false, and their share is judged.  ``cannot`` says why a part cannot come out otherwise here, whatever
    the models do.
    """

    what: str
    values: pd.Series
    of: str = "share"
    least: float = -inf
    most: float = inf
    effect: bool = False
    control: bool = False
    cannot: str = ""

    @cached_property
    def middle(self) -> tuple[float, float, float]:
        """The mean over seeds and its 95 % interval; with one seed it is unbounded."""
        values = self.values.astype(float)
        if self.of == "seeds":
            return values.mean(), *wilson(int(values.sum()), len(values))
        if len(values) < 2 or not np.isfinite(values).all():
            return values.mean(), -inf, inf
        return interval(values) if self.of == "factor" else (values.mean(), *mean_interval(values, -inf, inf))

    @property
    def state(self) -> str:
        """``holds``, ``fails``, ``undecided`` or ``not testable here``."""
        _, low, high = self.middle
        if self.cannot:
            return NOT_TESTABLE
        if self.least < low and high < self.most:
            return HOLDS
        if high < self.least or low > self.most:
            return FAILS
        return NOT_TESTABLE if self.too_few else UNDECIDED

    @property
    def too_few(self) -> bool:
        """Whether so few seeds could not hold, whatever came: they can only speak against the claim."""
        if self.of != "seeds":
            return False
        size = len(self.values)
        return wilson(0, size)[1] >= self.most or wilson(size, size)[0] <= self.least

    @property
    def border(self) -> str:
        """What is claimed, in words."""
        form, unit, by, *_ = _FORMS[self.of]
        if 0 in (self.least, self.most):
            return f"{self.what} {'more' if self.least == 0 else 'less'} than 0{unit}"
        word, end = ("at most", self.most) if np.isfinite(self.most) else ("at least", self.least)
        return f"{self.what} {word} {by * end:{form}}{unit}"

    def __str__(self) -> str:
        form, unit, by, lowest, highest = _FORMS[self.of]
        middle, low, high = (f"{min(max(by * end, lowest), highest):{form}}" for end in self.middle)
        said = f"{self.values.sum()} of {len(self.values)}, " * (self.of == "seeds") + middle + unit
        ends = f"{low} to {high}" if np.isfinite(self.middle[1]) else "one seed"
        ends += ", too few to hold" * (self.state == NOT_TESTABLE)
        return f"{self.what} {said} ({self.cannot or ends})"


class Verdict(NamedTuple):
    """One of ``STATES``, what was measured in words, and of how many seeds."""

    word: str
    measured: str = ""
    seeds: int = 0

    def __str__(self) -> str:
        return ": ".join(filter(None, self[:2]))

    @classmethod
    def of(cls, parts: list[Part]) -> "Verdict":
        """Reproduced where all parts hold, in part where an effect does, contradicted where all effects fail
        that can be tested.
        """
        effects = {part.state for part in parts if part.effect} - {NOT_TESTABLE}
        word = UNDECIDED if effects else NOT_TESTABLE
        if all(part.state == HOLDS for part in parts):
            word = REPRODUCED
        elif HOLDS in effects:
            word = IN_PART
        elif effects == {FAILS}:
            word = CONTRADICTED
        states = dict.fromkeys(part.state for part in parts)
        said = {state: "; ".join(str(part) for part in parts if part.state == state) for state in states}
        measured = "; ".join(f"{state}: {text}" for state, text in said.items())
        return cls(word, measured, max(len(part.values) for part in parts))


@dataclass(frozen=True)
class Claim:
    """A published finding, its parts by name, the table that is judged, and its judge's name.

    ``without`` is what data without an effect is: the columns that then make no difference, or the level of
    all that is measured.  Where the judge is ``paired``, that column names the arms, and each part compares
    the column ``value`` of arm ``one`` with that of arm ``other`` (``readings.compared``).  ``before`` has
    the verdicts of the last version by scale, and ``why`` what changed.
    """

    name: str
    experiment: str
    published: str
    notebook: str
    parts: Mapping[str, Mapping[str, Any]]
    without: Any
    judge: str = PAIRED
    before: Mapping[str, str] = field(default_factory=dict)
    why: str = "new"

    def readings(self, results: pd.DataFrame) -> dict[str, readings.Reading]:
        """What the judge reads off the frame, by part; nothing where some of it was not measured."""
        if self.judge != PAIRED:
            return getattr(readings, self.judge)(results)
        found = {key: readings.compared(results, self.without[0], part) for key, part in self.parts.items()}
        return found if all(map(len, found.values())) else {}

    def part(self, key: str, name: str, values: pd.Series, cannot: str = "") -> Part:
        """A part with its border, of values by seed; ``name`` stands where its text has braces."""
        about = {word: each for word, each in self.parts[key].items() if word not in _COMPARES}
        return Part(**about | {"what": about["what"].format(name)}, values=values.dropna(), cannot=cannot)

    def verdict(self, results: pd.DataFrame) -> Verdict:
        """The verdict from the tidy frame of the notebook."""
        parts = []
        for key, read in self.readings(results).items():
            values, cannot = read if isinstance(read, tuple) else (read, "")
            each = values.items() if isinstance(values, pd.DataFrame) else [("", values)]
            parts += [(name, self.part(key, name, row, cannot)) for name, row in each]
        lost = {name for name, part in parts if part.control and part.state == FAILS}
        found = [
            replace(part, cannot=part.cannot or "its control fails") if name in lost else part
            for name, part in parts
        ]
        return Verdict.of(found) if found else Verdict(NOT_RUN, "not measured at this scale")

    @property
    def criterion(self) -> str:
        """The parts and their borders; those that are no effect in brackets."""
        said = []
        for key, about in self.parts.items():
            border = self.part(key, "each", pd.Series()).border
            said.append(border if about.get("effect") else f"({border})")
        return "; ".join(said)

    def table_in(self, folder: Path) -> Path | None:
        """The table in a folder of results that the claim is judged by, if there is one."""
        path = folder / f"{self.notebook}.csv"
        return path if path.is_file() else None

    def simulated_on(self, table: Path) -> str:
        """What a rate depends on besides the judge, as sixteen hexadecimal digits."""
        return seal({"table": hash_of(table), "parts": self.parts, "without": self.without})[:16]

    def verdict_in(self, folder: Path) -> Verdict:
        """The verdict from the table in a folder of results; ``not run`` if it is not there."""
        path = self.table_in(folder)
        return self.verdict(pd.read_csv(path)) if path else Verdict(NOT_RUN)


CLAIMS = tuple(Claim(**text) for text in TEXTS["claims"])


# How often data without an effect would pass

_VALUES = ("accuracy", "loss", "cosine", "value", "nats", "exact")
# Columns that name no test
_ASIDE = {*_VALUES, "copied", "low", "high", "examples", "seconds", "size", "run", "seed", "weights"}
_DRAWS, _MORE, _DRAWN_BY = 200, 1_000, 90
_NEAR = 0.03  # a rate that may come to more than 5 % when more tables are drawn


def without_effect(results: pd.DataFrame, claim: Claim) -> Callable[[np.random.Generator], pd.DataFrame]:
    """Draws tables as they would be if nothing that the claim speaks of made a difference.

    Every test has one level, its mean over the levels of the columns ``without``.  Around it each run
    deviates by what another run, drawn anew, deviates from the mean of its own seeds.  Where ``without`` is a
    number, or ``chance``, that of notebook 13, each row has that chance in its examples.
    """
    if claim.judge == PAIRED:
        return _equal_arms(results, claim)
    value, columns = next(name for name in _VALUES if name in results), claim.without
    if not isinstance(columns, list):
        share, size = (
            readings.lower_k(results)["chance"].iloc[0] if columns == "chance" else columns,
            results["examples"],
        )
        return lambda rng: results.assign(**{value: rng.binomial(size, share) / size})
    tests = [name for name in results if name not in _ASIDE]
    cells = results.groupby(tests, dropna=False)[value]
    seeds = cells.transform("size").clip(lower=2)
    deviates = (results[value] - cells.transform("mean")) * np.sqrt(seeds / (seeds - 1))
    unit = [name for name in ("seed", "weights", "run", *columns) if name in results]
    runs = results.groupby(unit, dropna=False).ngroup().to_numpy()
    own_deviations = deviates.groupby(runs).mean().to_numpy()
    rest = [name for name in tests if name not in columns]
    level = results.groupby(rest, dropna=False)[value].transform("mean")
    ends = {"accuracy": (0, 1), "cosine": (-1, 1)}.get(value, (1e-6, inf))

    def draw(rng: np.random.Generator) -> pd.DataFrame:
        deviation = rng.choice(own_deviations, len(own_deviations))[runs]
        return results.assign(**{value: np.clip(level + deviation, *ends)})

    return draw


def _equal_arms(results: pd.DataFrame, claim: Claim) -> Callable[[np.random.Generator], pd.DataFrame]:
    """Draws tables in which all arms have one level, and deviate from it as some arm and seed did."""
    arms, values = claim.without[0], sorted({part["value"] for part in claim.parts.values()})
    where = sorted({column for part in claim.parts.values() for column in part.get("where", ())})
    means = results.groupby([*where, arms, "seed"], as_index=False)[values].mean()
    tests = means.groupby(where).ngroup() if where else pd.Series(0, means.index)
    deviates = means[values] - means.groupby([tests, arms])[values].transform("mean")

    def draw(rng: np.random.Generator) -> pd.DataFrame:
        drawn = deviates.groupby(tests, group_keys=False).sample(frac=1, replace=True, random_state=rng)
        return means.assign(**{value: drawn[value].to_numpy() for value in values})

    return draw


def false_passes(claim: Claim, results: pd.DataFrame, draws: int = _DRAWS) -> float:
    """How often data without an effect would be called reproduced, or in part: a share of ``draws``."""
    results = results.query("k < 3") if "k" in results else results  # all that experiment 4 reads
    rng, draw = np.random.default_rng(_DRAWN_BY), without_effect(results, claim)
    return np.mean([claim.verdict(draw(rng)).word in (REPRODUCED, IN_PART) for _ in range(draws)])


def too_many(rates: pd.DataFrame, most: float = 0.05) -> pd.DataFrame:
    """The rows of ``false_passes.csv`` whose rate is above ``most`` by more than the error of its draws.

    >>> too_many(pd.DataFrame({"rate": [0.04, 0.06, 0.09], "draws": 1_000}))["rate"].tolist()
    [0.09]
    """
    passed = (rates["rate"] * rates["draws"]).round().astype(int)
    least = [wilson(*pair)[0] for pair in zip(passed, rates["draws"], strict=True)]
    return rates[np.array(least) > most]


def write_false_passes(data: Path) -> pd.DataFrame:
    """Simulate the rate of each claim on the committed tables, and write ``false_passes.csv`` in ``data``.

    Columns: claim, scale, seeds, rate, draws, seed (of the draws), of (``simulated_on``).  A rate near 5 % is
    simulated again with more draws.  What is there already of the same table and parts is kept.
    """
    path = data / "false_passes.csv"
    known = pd.read_csv(path).to_dict("records") if path.is_file() else []
    known = {tuple(row[name] for name in ("claim", "of", "seed")): row for row in known}
    rows = []
    for claim in CLAIMS:
        for scale in COMMITTED:
            verdict = claim.verdict_in(data / "results" / scale)
            if verdict.word in (NOT_RUN, NOT_TESTABLE):
                continue
            found = claim.table_in(data / "results" / scale)
            row = {"claim": claim.name, "scale": scale, "seeds": verdict.seeds, "rate": nan, "draws": 0}
            row |= {"seed": _DRAWN_BY, "of": claim.simulated_on(found)}
            row |= known.get((claim.name, row["of"], _DRAWN_BY), {})
            for draws in (_DRAWS, _MORE):
                if row["draws"] < draws and not row["rate"] < _NEAR:
                    print(f"{claim.name}, {scale}: {draws:,} draws", flush=True)
                    row |= {"rate": false_passes(claim, pd.read_csv(found), draws), "draws": draws}
                    known[claim.name, row["of"], _DRAWN_BY] = row
                    _write_rates(path, list(known.values()))  # kept if this is interrupted
            rows.append(row)
    return _write_rates(path, rows)


def _write_rates(path: Path, rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    write(path, table.to_csv(index=False, lineterminator="\n"))
    return table


def _passing() -> pd.Series:
    """The committed rates, by claim and scale."""
    return pd.read_csv(project_folder() / "data" / "false_passes.csv").set_index(["claim", "scale"])["rate"]


# Where verdicts are shown


def judged(tables: Mapping[str, pd.DataFrame], scale: str) -> str:
    """The claims that a notebook's ``tables`` judge, as Markdown: one each, with the committed verdicts.

    >>> print(judged({"11_no_ops": pd.DataFrame()}, "smoke").splitlines()[0])
    **no-ops do not move the threshold: not run**
    """
    passing, found = _passing(), []

    def shown(verdict: Verdict) -> str:
        return "<br>".join([f"**{verdict.word}**", *filter(None, verdict.measured.split("; "))])

    for claim in (each for each in CLAIMS if each.notebook in tables):
        now = Verdict(NOT_RUN, "this scale teaches nothing")
        now = now if scale == "smoke" else claim.verdict(tables[claim.notebook])
        rows = {"published": claim.published, "criterion": claim.criterion.replace("; ", "<br>")}
        rows |= {} if scale == SHOW else {f"this run (`{scale}`)": shown(now)}
        rows |= {
            f"committed, `{name}`": shown(claim.verdict_in(committed_folder(name))) for name in COMMITTED
        }
        rates = [f"{rate:.1%} at `{name}`" for (of, name), rate in passing.items() if of == claim.name]
        rows |= {"would pass without an effect": ", ".join(rates)} if rates else {}
        lines = [f"**{claim.name}: {now.word}**", "", "| | |", "|:---|:---|"]
        lines += [f"| {name} | {text} |" for name, text in rows.items()]
        found.append("\n".join(lines))
    return "\n\n".join(found)


def in_both(names: Sequence[str], small: pd.DataFrame, real: pd.DataFrame) -> pd.DataFrame:
    """A row per claim: the verdicts from a table of the small world, and from one of a real model."""
    tables = {"": small, "a real model: ": real}
    known = {claim.name: claim for claim in CLAIMS}
    words = [[known[of + name].verdict(table).word for of, table in tables.items()] for name in names]
    return pd.DataFrame(words, names, columns=["the small world", "a real model"])


def verdicts(folders: Mapping[str, Path]) -> pd.DataFrame:
    """A row per claim: experiment, claim, published, criterion, why (it changed); per scale the verdict, and
    ``measured at``, ``seeds at``, ``before at`` and ``false passes at`` it.

    ``folders`` maps a scale to the folder of its results; without a notebook's results the verdict is ``not
    run``.
    """
    rates, rows = _passing(), []
    for claim in CLAIMS:
        row = {"experiment": claim.experiment, "claim": claim.name}
        row |= {"published": claim.published, "criterion": claim.criterion, "why": claim.why}
        for scale, folder in folders.items():
            row[scale], row[f"measured at {scale}"], row[f"seeds at {scale}"] = claim.verdict_in(folder)
            row[f"before at {scale}"] = claim.before.get(scale, NOT_RUN)
            row[f"false passes at {scale}"] = rates.get((claim.name, scale), nan)
        rows.append(row)
    return pd.DataFrame(rows)


def write_verdicts(data: Path) -> None:
    """Put the verdicts on the results in a folder ``data/`` between the two marks of its README."""
    heads = ["experiment", "claim", *COMMITTED, "before, and why it changed"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for claim in CLAIMS:
        found = [f"{claim.verdict_in(data / 'results' / name)}" for name in COMMITTED]
        before = ", ".join(f"`{scale}` {word}" for scale, word in claim.before.items())
        row = [claim.experiment, claim.published, *found, "; ".join(filter(None, (before, claim.why)))]
        lines.append(f"| {' | '.join(row)} |")
    write_block(data / "README.md", "verdicts", lines)
