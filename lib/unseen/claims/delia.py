"""What DELIA's authors published, and the judges of what came out here (Zeng et al., arXiv 2408.10841).

They measured language models of seven billion weights; ours live in a small world.  Each judge reads the tidy frame that its notebook
leaves, and tells our measure of the quantity that they report.
"""

import pandas as pd

from unseen.claims.judging import Claim, Verdict, verdict

RATIO = 67  # the smallest published one, and ours where methods are compared
KINDS = ("task+token", "task", "other+token", "other", "other formats")
FORMAT_LOSS = {0: 6.9, 135: 5.5, 260: 5.2, 520: 4.8}  # published ends of the training curves, from near 22.5


def judge_translation(results: pd.DataFrame) -> Verdict:
    """See the criterion of the claim ``translation``."""
    rows = results[(results["task"] == "translation") & (results["prompts"] == "task") & (results["score"] == "chrF")]
    rows = rows[rows["method"] != "base"]
    means = rows.groupby("ratio")["value"].mean()
    plain, diverse = means[0], means[means.index > 0]
    gain = diverse.max() / plain - 1
    measured = f"chrF {plain:.1f} without diverse data, {diverse.max():.1f} at {diverse.idxmax()} ({gain:+.0%})"
    return verdict(gain >= 0.17, gain > 0.02, measured)


def judge_formats(results: pd.DataFrame) -> Verdict:
    """See the criterion of the claim ``formatted generation``."""
    rows = results[(results["study"] == "ratio") & results["prompts"].isin(KINDS)]
    means = rows.groupby("ratio")["accuracy"].mean()
    plain, best = means[0], means.drop(0).max()
    gain = best / plain - 1
    measured = f"mean over five kinds of prompts {plain:.1%} by plain tuning, {best:.1%} at {means.drop(0).idxmax()} ({gain:+.0%})"
    return verdict(gain >= 0.361, gain >= 0.1, measured)


def judge_format_loss(results: pd.DataFrame) -> Verdict:
    """See the criterion of the claim ``format loss``."""
    rows = results[results["prompts"] == "other+token"]
    ends = rows[rows["step"] == rows["step"].max()].groupby("ratio")["loss"].mean()
    begin = rows[rows["step"] == 0]["loss"].mean()
    more = ends[ends.index > 0]
    falling = ends.is_monotonic_decreasing
    measured = f"from {begin:.1f} to " + ", ".join(f"{value:.2f} at {ratio}" for ratio, value in ends.items())
    return verdict(falling and more.iloc[-1] <= 0.9 * ends[0], bool((more < ends[0]).any()), measured)


def judge_token(results: pd.DataFrame) -> Verdict:
    """See the criterion of the claim ``new token``."""
    rows = results[results["study"] == "phases"]
    means = rows.pivot_table("accuracy", ["regime", "ratio"], "prompts", sort=False)
    diverse = means[means.index.get_level_values("ratio") > 0]
    works = (diverse["other+token"] >= 0.8) & (diverse[["other", "not token"]].min(axis=1) >= 0.95)
    equal = ("equal", min(diverse.index.get_level_values("ratio"), key=lambda ratio: abs(ratio - RATIO)))
    at, best = diverse.loc[equal], diverse["other+token"].idxmax()
    measured = (f"equal rates, ratio {equal[1]}: other operations {at['other+token']:.1%} with the token, {at['other']:.1%} without, refused "
                f"{at['not token']:.1%}; best with diverse data {diverse['other+token'].max():.1%} ({best[0]}, {best[1]}); "
                f"plain tuning {means.loc[('equal', 0), 'other+token']:.1%}")  # fmt: skip
    return verdict(bool(works[equal]), bool(works.any()), measured)


def judge_buffering(results: pd.DataFrame) -> Verdict:
    """See the criterion of the claim ``buffering``."""
    rows = results[(results["part"] == "all weights") & (results["ratio"] > 0)]
    means = rows.groupby(["gradient", "along"])["cosine"].mean()
    gain = means["composite", "ideal"] - means["task", "ideal"]
    measured = (f"cosine to the ideal {means['task', 'ideal']:.2f} of the task's gradient, {means['composite', 'ideal']:.2f} of the composite; "
                f"along the bias {means['task', 'bias']:.2f} and {means['diverse', 'bias']:.2f} (diverse data)")  # fmt: skip
    opposed = means["diverse", "bias"] <= 0
    return verdict(gain >= 0.1 and opposed, gain >= 0.1 or opposed, measured)


CLAIMS = (
    Claim("translation", "D1", "diverse self-sampled data: BLEURT 17 to 33 % above plain instruction tuning",
          "translating the made-up language, chrF at the best ratio is at least 17 % above that without diverse data; partly: 2 %",
          "24_delia_on_a_language_model", judge_translation),
    Claim("formatted generation", "D2", "diverse self-sampled data: accuracy 36 % above plain instruction tuning",
          "mean over the five kinds of prompts at the best ratio at least 36.1 % above plain tuning; partly: 10 %",
          "21_delia", judge_formats),
    Claim("format loss", "D3", "the loss on the format ends at 6.9 without diverse data, 5.5 at 135, 5.2 at 260 and 4.8 at 520 times as much",
          "the loss of right answers on other operations with the token ends lower at each larger ratio, at the largest by a tenth; "
          "partly: lower at some ratio than at none", "21_format_loss", judge_format_loss),
    Claim("new token", "D4", "a new token, trained on one task alone, takes on its prior meaning and works in unrelated prompts",
          "at equal learning rates and the ratio nearest to 67 other operations are right with the token on 80 %, and on 95 % without it and "
          "where it is refused; partly: at some ratio and regime of learning rates with diverse data", "22_new_token", judge_token),
    Claim("buffering", "D5", "diverse data's gradient has little along the bias and opposes it, so that the composite approximates the ideal",
          "over the run with diverse data, in the mean, the composite's cosine to the ideal exceeds the task's by 0.1 and the diverse "
          "gradient's cosine to the bias is not positive; partly: one of these", "23_gradients", judge_buffering),
)  # fmt: skip
