"""Pictures of single examples: a rewrite letter by letter, a program's tape, what a model reads and may see.

Plain strings and arrays in, ``Axes`` or ``Figure`` out.  Like ``plots``, no function reads files or
changes a global setting.  A cell is one letter; ``INCH`` sets the size of all of them.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from unseen.encoding import Encoding
from unseen.model import Transformer
from unseen.plots import COLOURS
from unseen.rewriting import MarkovAlgorithm, Rule

INCH = 0.31  # the side of one cell
SHAPE_LETTERS = {  # of ``model``'s docstring
    "B": "examples of a batch", "T": "tokens read (the context)", "P": "tokens of the prompt", "O": "tokens of the answer",
    "C": "width", "H": "heads", "D": "width of one head, C / H", "V": "vocabulary", "L": "layers",
}  # fmt: skip
_KEPT, _INK, _FAINT = (0.93, 0.93, 0.93), (0.15, 0.15, 0.15), (0.6, 0.6, 0.6)
_EMPTY = "(empty)"
_PARTS = {  # parameters of both recipes, by the name of the part that holds them
    **dict.fromkeys(("q", "k", "v", "out", "inputs", "output"), "attention"), **dict.fromkeys(("up", "down", "mlp"), "MLP"),
    **dict.fromkeys(("norm_attention", "norm_mlp", "norm"), "norms"), "embedding": "token embedding",
    "before": "tokens before it", "positions": "positions", "head": "output head",
}  # fmt: skip


def _tint(name: str) -> tuple[float, ...]:
    """A colour of the house, light enough to read black letters on."""
    return tuple(1 - 0.55 * (1 - part) for part in to_rgb(COLOURS[name]))


def _canvas(wide: float, high: float) -> Axes:
    return plt.subplots(figsize=(INCH * wide, INCH * high))[1]


def _frame(ax: Axes, left: float, right: float, top: float, bottom: float) -> Axes:
    """Cells are squares, rows count downwards, and nothing but them is drawn."""
    ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    ax.axis("off")
    return ax


def _cells(ax: Axes, text: str, row: float, fills: Mapping[int, object], start: float = 0) -> None:
    """One row of letters; ``fills`` gives the colour of single cells, the rest is grey."""
    for i, letter in enumerate(text):
        box = FancyBboxPatch((start + i + 0.06, row - 0.44), 0.88, 0.88, boxstyle="round,pad=0,rounding_size=0.14",
                             fc=fills.get(i, _KEPT), ec="none")  # fmt: skip
        ax.add_patch(box)
        ax.text(start + i + 0.5, row, letter, ha="center", va="center", family="monospace", size=12, color=_INK)


def _note(ax: Axes, x: float, row: float, text: str, **kwargs: object) -> None:
    ax.text(x, row, text, **({"va": "center", "size": 10, "color": _INK} | kwargs))


def rewrite(rule: Rule, text: str, mark: str = "", ax: Axes | None = None) -> Axes:
    """One rewrite, letter by letter: the leftmost match above, what stands in its place below.

    Further matches, which the rule leaves alone, are underlined; so is every place of ``mark``, a string
    to point out in the input.  Grey letters are copied, and thin lines show where they go.
    """
    answer, at = rule.apply(text), text.find(rule.pattern)
    ax = ax or _canvas(max(len(text), len(answer)) + 6, 4.2)
    x, y = len(rule.pattern), len(rule.replacement)
    match, put = (range(at, at + x), range(at, at + y)) if at >= 0 else (range(0), range(0))
    _cells(ax, text, 0, dict.fromkeys(match, _tint("pattern")))
    _cells(ax, answer, 2, dict.fromkeys(put, _tint("replacement")))
    for i in set(range(len(text))) - set(match):
        j = i if at < 0 or i < at else i - x + y
        ax.plot([i + 0.5, j + 0.5], [0.52, 1.48], color=_FAINT, lw=0.8)
    _underline(ax, text, rule.pattern, "pattern", from_place=at + x if at >= 0 else len(text))
    _underline(ax, text, mark, "unseen")
    _note(ax, -0.3, 0, "input", ha="right")
    _note(ax, -0.3, 2, "answer", ha="right")
    note = f"{rule.pattern} → {rule.replacement}" if at >= 0 else f"{rule.pattern} → {rule.replacement}   (no-op)"
    _note(ax, 0.06, -1.05, note, family="monospace", size=12, weight="bold")
    return _frame(ax, -2.6, max(len(text), len(answer), len(note)) + 0.5, -1.6, 2.6)


def _underline(ax: Axes, text: str, part: str, colour: str, from_place: int = 0) -> None:
    """A line below every place of ``part`` in the text at row 0, from a place on."""
    while part and (from_place := text.find(part, from_place)) >= 0:
        ax.plot([from_place + 0.1, from_place + len(part) - 0.1], [0.56, 0.56], color=COLOURS[colour], lw=3,
                solid_capstyle="butt")  # fmt: skip
        from_place += len(part)


def rewrites(cases: Sequence[tuple[Rule, str]]) -> Figure:
    """Several rewrites below each other."""
    wide = max(max(len(text), len(rule.apply(text))) for rule, text in cases) + 8
    figure, axes = plt.subplots(len(cases), 1, figsize=(INCH * wide, INCH * 4.6 * len(cases)), squeeze=False)
    for ax, (rule, text) in zip(axes[:, 0], cases, strict=True):
        rewrite(rule, text, ax=ax).set(xlim=(-2.6, wide - 2.6))
    return figure


def tape(program: MarkovAlgorithm, text: str, limit: int = 40, ax: Axes | None = None) -> Axes:
    """The run of a Markov algorithm, one row a step, with the rule that wrote it at the right.

    Orange is what the next step will replace, green underlines what the last step has written.
    Raises ``StepLimitExceeded`` when it takes more than ``limit`` steps.
    """
    steps = list(program.steps(text, limit))
    rows = [text, *(step.text for step in steps)]
    wide = max(map(len, rows))
    rules = max((len(_arrow(step.rule)) for step in steps), default=0)
    ax = ax or _canvas(wide + 5 + 0.75 * rules, 1.15 * len(rows) + 1.2)
    for row, shown in enumerate(rows):
        after = steps[row] if row < len(steps) else None
        found = range(after.position, after.position + len(after.rule.pattern)) if after else range(0)
        _cells(ax, shown, 1.15 * row, dict.fromkeys(found, _tint("pattern")))
        _note(ax, -0.4, 1.15 * row, "start" if row == 0 else str(row), ha="right", color=_FAINT)
        if not shown:
            _note(ax, 0.1, 1.15 * row, _EMPTY, color=_FAINT)
        if row:
            _written(ax, steps[row - 1].position, len(steps[row - 1].rule.replacement), 1.15 * row)
            _note(ax, wide + 0.8, 1.15 * row, _arrow(steps[row - 1].rule), family="monospace", size=11)
    return _frame(ax, -2.6, wide + 1.5 + 0.75 * rules, -0.8, 1.15 * len(rows) - 0.3)


def _arrow(rule: Rule) -> str:
    return str(rule).replace("->", "→")


def _written(ax: Axes, place: int, length: int, row: float) -> None:
    if length:
        ax.plot([place + 0.1, place + length - 0.1], [row + 0.47] * 2, color=COLOURS["replacement"], lw=3,
                solid_capstyle="butt")  # fmt: skip


def encoded(encoding: Encoding, rule: Rule, text: str, ax: Axes | None = None) -> Axes:
    """One example as a model meets it: the tokens read, their ids, and what should be said after each.

    The loss counts only the coloured row of the answer.
    """
    prompt = encoding.prompt(rule, text)
    whole = prompt + rule.apply(text).ljust(encoding.answer_length, ".")
    read, said = whole[:-1], len(prompt) - 1
    ax = ax or _canvas(len(read) + 6, 7.4)
    _cells(ax, read, 0, part_colours(encoding))
    for i, token in enumerate(encoding.ids(read)):
        _note(ax, i + 0.5, 0.85, str(token), ha="center", size=8, color=_FAINT)
    ax.vlines(np.arange(said, len(read)) + 0.5, 1.35, 1.95, color=_FAINT, lw=0.8)
    _cells(ax, whole[len(prompt) :], 2.5, dict.fromkeys(range(encoding.answer_length), _tint("unseen")), start=said)
    for row, name in ((0, "reads"), (0.85, "as ids"), (2.5, "is to say")):
        _note(ax, -0.4, row, name, ha="right")
    _brace(ax, 0, len(prompt), -0.85, f"prompt: {len(prompt)} tokens")
    _brace(ax, len(prompt), len(read), -0.85, "its own answer so far")
    _brace(ax, said, len(read), 3.35, f"answer: {encoding.answer_length} tokens, the only ones in the loss", 1)
    return _frame(ax, -4, len(read) + 0.6, -2.1, 4.6)


def part_colours(encoding: Encoding) -> dict[int, object]:
    """The colours of the rule's letters in a prompt, by place: x and y as in ``rewrite``."""
    x, y = encoding.pattern_length, encoding.replacement_length
    special = dict.fromkeys((x, x + 1 + y, encoding.prompt_length - 1), "white")
    return (
        dict.fromkeys(range(x), _tint("pattern"))
        | dict.fromkeys(range(x + 1, x + 1 + y), _tint("replacement"))
        | special
    )


def _brace(ax: Axes, left: float, right: float, row: float, text: str, side: int = -1) -> None:
    """A bracket over (side -1) or under (1) some cells, and what they are."""
    ax.plot(
        [left + 0.1, left + 0.1, right - 0.1, right - 0.1],
        [row - 0.18 * side, row, row, row - 0.18 * side],
        color=_INK,
        lw=0.9,
    )
    _note(ax, (left + right) / 2, row + 0.5 * side, text, ha="center")


def masks(visible: Mapping[str, np.ndarray], tokens: str, prompt: int) -> Figure:
    """Who may look at whom, one panel for each name: ``visible`` (T, T), true where row may see column."""
    side = 0.17 * len(tokens)
    figure, axes = plt.subplots(1, len(visible), figsize=((side + 0.5) * len(visible), side + 0.8), squeeze=False,
                                sharey=True, layout="constrained")  # fmt: skip
    for ax, (name, may) in zip(axes[0], visible.items(), strict=True):
        ax.imshow(may, cmap=ListedColormap(["white", _tint("unseen")]), vmin=0, vmax=1)
        ax.set(title=name, xlabel="may look at")
        _token_axes(ax, tokens, tokens)
        ax.axhline(prompt - 0.5, color=_INK, lw=1)
        ax.axvline(prompt - 0.5, color=_INK, lw=1)
    axes[0, 0].set_ylabel("this token")
    return figure


def _token_axes(ax: Axes, columns: str, rows: str) -> None:
    """A token at every row and column, hair lines between them."""
    for axis, tokens in ((ax.xaxis, columns), (ax.yaxis, rows)):
        axis.set_ticks(range(len(tokens)), list(tokens), family="monospace", size=9)
        axis.set_ticks(np.arange(len(tokens) + 1) - 0.5, minor=True)
    ax.tick_params(which="both", length=0)
    ax.grid(False)
    ax.grid(which="minor", color=_KEPT, lw=0.5)
    ax.set_axisbelow(False)


def jobs(frame: pd.DataFrame) -> Figure:
    """How much of its attention each head puts on the letter to be written next (``attention.on_source``),
    one panel a job: a row is a layer, a column a head."""
    names = frame["job"].unique()
    layers, heads = frame["layer"].max(), frame["head"].max()
    figure, axes = plt.subplots(1, len(names), figsize=((0.7 * heads + 0.8) * len(names), 0.42 * layers + 1),
                                squeeze=False, sharey=True, layout="constrained")  # fmt: skip
    for ax, name in zip(axes[0], names, strict=True):
        table = frame[frame["job"] == name].pivot(index="layer", columns="head", values="attention")
        sns.heatmap(table, ax=ax, annot=True, fmt=".2f", cmap="Blues", vmin=0, vmax=1, cbar=False, linewidths=1)
        ax.set(title=f"{name} letters", ylabel="")
        ax.tick_params(length=0, rotation=0)
    axes[0, 0].set_ylabel("layer")
    return figure


def looks(
    weights: Mapping[str, np.ndarray], tokens: str, answer: str, sources: Sequence[int], encoding: Encoding
) -> Figure:
    """Where single heads look while each letter of the answer is written, one panel for each name.

    ``weights`` (O, T) are rows of attention over the ``tokens`` read, one for each token of ``answer``;
    a frame marks the place at which the letter to be written stands (``sources`` (O,), -1 for none).
    """
    high = 0.24 * len(answer) + 0.5
    figure, axes = plt.subplots(len(weights), 1, figsize=(0.27 * len(tokens) + 1.4, high * len(weights) + 0.4),
                                squeeze=False, layout="constrained")  # fmt: skip
    for ax, (name, part) in zip(axes[:, 0], weights.items(), strict=True):
        picture = ax.imshow(part, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        _token_axes(ax, tokens, answer)
        for row, place in enumerate(sources):
            if place >= 0:
                ax.add_patch(plt.Rectangle((place - 0.5, row - 0.5), 1, 1, fill=False, ec=COLOURS["wrong"], lw=1.4))
        ax.set(title=name, ylabel="writes")
        for label, colour in zip(ax.get_xticklabels(), _label_colours(encoding, len(tokens)), strict=True):
            label.set_color(colour)
    axes[-1, 0].set_xlabel("looks at")
    figure.colorbar(
        picture, ax=axes[:, 0].tolist(), label="share of its attention", shrink=0.7 / len(weights) + 0.2, pad=0.01
    )
    return figure


def _label_colours(encoding: Encoding, size: int) -> list[object]:
    x, y = encoding.pattern_length, encoding.replacement_length
    special = {x, x + 1 + y, encoding.prompt_length - 1}
    parts = {i: COLOURS["pattern"] for i in range(x)} | {x + 1 + i: COLOURS["replacement"] for i in range(y)}
    return [_FAINT if i in special else parts.get(i, _INK) for i in range(size)]


def parameter_counts(model: Transformer) -> pd.Series:
    """How many parameters each kind of part has, over all layers.

    >>> from unseen.model import Shape, build
    >>> from unseen.specs import ModelSpec
    >>> parameter_counts(build(ModelSpec(layers=2, width=8, heads=2, mlp_ratio=2), Shape(10, 9, 15))).to_dict()
    {'attention': 512, 'MLP': 512, 'token embedding': 80, 'tokens before it': 160, 'output head': 80}
    """
    counts = dict.fromkeys(_PARTS.values(), 0)
    for name, parameter in model.named_parameters():
        part = name.split(".")[2 if name.startswith("blocks.") else 0]
        counts[_PARTS[part]] += parameter.numel()
    return pd.Series({part: count for part, count in counts.items() if count})
