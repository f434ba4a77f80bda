"""The findings in a sentence each, with their intervals, computed from the committed results of ``full``.

>>> print(findings()[0][:62])
* **The threshold** ([10](notebooks/10_diversity_threshold.ipy
"""

from pathlib import Path

import pandas as pd

from unseen.stats import interval, mean_interval, stated
from unseen.studies import diversity, floor, law
from unseen.studies.results import committed_table, write_block


def threshold() -> str:
    """Notebook 10: how many different instructions it takes."""
    results = committed_table("10_diversity_threshold", "full").query("setting == 'main'")
    unseen = results[results["split"] == "unseen"].groupby("instructions")["accuracy"]
    (few, at_few), *_, (many, at_many) = unseen
    half = diversity.main_threshold(results)
    said = f"on one budget of examples, models trained on {few} instructions follow {_per_cent(at_few)} of "
    said += f"unseen ones, models trained on {many:,} follow {_per_cent(at_many)}; half of the height is "
    said += f"reached at {half.middle:.0f} instructions ({half.low:.0f} to {half.high:.0f})"
    return said


def causes() -> str:
    """Notebooks 17 and 41: what moves the threshold, and what cannot."""
    fitted = law.fit(law.by_seed(committed_table("17_threshold_law", "full")))
    rows = fitted.exponents().set_index("factor")
    steps, width, alphabet = (_exponent(rows.loc[name]) for name in ("passes", "width", "alphabet"))
    said = f"the threshold scales with training steps to the power {steps}, width to {width}, letters to "
    said += alphabet
    longer = law.by_seed(committed_table("41_longer_training", "full"), floor.READ)
    middle, low, high = interval(longer.query("setting == '30 times the steps'")["threshold"])
    said += (
        "; further steps help ever less ([41](notebooks/41_longer_training.ipynb)): after thirty times as "
    )
    return said + f"many a small model needs {middle:.0f} ({low:.0f} to {high:.0f})"


def heads() -> str:
    """Notebook 19: what breaks without the heads that read the replacement."""
    results = committed_table("19_inside_the_model", "full")
    rows = results.query("part == 'seeds' and what == 'whole answer' and size == 3")
    rows = rows[rows["job"] == "reads y"]
    best, others = (_per_cent(rows[rows["chosen"] == which]["share"]) for which in ("best", "others"))
    said = f"without the three heads that read the replacement, models give {best} of the right answers; "
    return said + f"without three other heads {others}"


def delia() -> str:
    """Notebooks 20 to 24: what diverse rows prevent, on several bases."""
    results = committed_table("21_bases", "full").query("prompts in ('task', 'other formats')")
    results = results.pivot_table("accuracy", "seed", ["method", "prompts"])
    plain = [_per_cent(results["plain tuning", kind]) for kind in ("other formats", "task")]
    slow = [_per_cent(results["plain, a tenth of the rate", kind]) for kind in ("other formats", "task")]
    said = "tuned on a small task alone, models keep {} of other formats and {} of plain answers; at a tenth "
    said += "of the rate {} and {}; with diverse rows that the base answered "
    return said.format(*plain, *slow) + f"{_per_cent(results['DELIA'].mean(axis=1))}"


def where() -> str:
    """Notebook 23: where a training with diverse data moves the weights."""
    results = committed_table("23_displacement", "full").query("of == 'from the base'")
    cosine = results.groupby("method")["cosine"].agg(stated, low=-1, high=1, form=".2f")
    own, plain, alone = (cosine[way] for way in ("DELIA", "plain tuning", "diverse rows alone"))
    said = (
        f"with diverse rows weights go nearer to where ideal rows lead, cosine {own}, than by plain tuning, "
    )
    return said + f"{plain}; by the diverse rows alone nearly as near, {alone}"


def real_model() -> str:
    """Notebook 25: how many rules a chat model needs."""
    results = committed_table("25_a_real_language_model", "full")
    results = results.query(
        "setting == 'pre-trained, plain, words' and split == 'unseen' and kind == 'has-op'"
    )
    accuracy = results.groupby("instructions")["accuracy"]
    few, ten, many = (_per_cent(accuracy.get_group(size)) for size in (1, 10, 512))
    return f"tuned on one rule, this chat model follows {few} of unseen ones, on ten {ten}, on 512 {many}"


FINDINGS = (
    ("The threshold", "10_diversity_threshold", threshold),
    ("What sets it", "17_threshold_law", causes),
    ("Inside", "19_inside_the_model", heads),
    ("DELIA", "21_delia", delia),
    ("Its theory", "23_gradients", where),
    ("SmolLM2", "25_a_real_language_model", real_model),
)


def findings() -> list[str]:
    """All findings, as lines of Markdown for the README; in brackets are 95 % intervals over seeds."""
    return [
        f"* **{title}** ([{name[:2]}](notebooks/{name}.ipynb)): {said()}." for title, name, said in FINDINGS
    ]


def write_findings(readme: Path) -> None:
    """Put the findings between their two marks in a README."""
    write_block(readme, "findings", findings())


def _per_cent(values: pd.Series) -> str:
    low, high = mean_interval(values)
    ends = f" ({100 * low:.0f} to {100 * high:.0f})" if low < high else ""  # none where no seed differs
    return f"{100 * values.mean():.0f} %{ends}"


def _exponent(row: pd.Series) -> str:
    return f"{row['exponent']:+.1f} ({row['low']:+.1f} to {row['high']:+.1f})"
