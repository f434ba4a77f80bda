"""Ask a base and its tunings anything in the language: a function, its table, and a widget for JupyterLab.

Whatever a person types is checked, then shown escaped: a mistake is a sentence beside the field, never a traceback.

    >>> understood("please flip this in the <sep> format : ABCD", "square").answer
    '[DCBA]'
    >>> understood("ABCD : turn it, never use curly format", "square").answer
    'BCDA'
    >>> understood("ABCD", "square") is None
    True
"""

import html
import re
from collections.abc import Mapping

import ipywidgets as ipw
import numpy as np
import pandas as pd

from unseen.delia.language import FORMATS, LETTERS, LONGEST, PAIRS, TOKEN, VERBS, Query
from unseen.delia.methods import Method
from unseen.delia.prompts import KINDS, ask, small_task
from unseen.encoding import layout_of
from unseen.evaluation import greedy_answers
from unseen.model import Transformer
from unseen.running.progress import headless
from unseen.specs import RunSpec
from unseen.store import Store

_LONGEST = 200  # characters of the field that are looked at
_ARGUMENTS = {
    "rewrite": re.compile(rf"([{LETTERS}]{{2}}) by ([{LETTERS}]{{2}})"),
    "delete": re.compile(rf"([{LETTERS}]) from"),
}
_INPUT = re.compile(rf"(?:^([{LETTERS}]+) ?:|: ?([{LETTERS}]+)$)")


def understood(text: str, format: str) -> Query | None:
    """What a text asks for, the token standing for ``format``; None where it is no query of the language."""
    words, given = re.findall(r"<sep>|[a-z]+", text), _INPUT.search(text.strip())
    operation = next((name for name, verbs in VERBS.items() if set(verbs) & set(words)), "")
    if not given or not operation:
        return None
    argument, pattern = "", _ARGUMENTS.get(operation)
    if pattern:
        if not (found := pattern.search(text)):
            return None
        argument = " ".join(found.groups())
    names = {TOKEN: format} | {name: name for name in FORMATS}
    named = [names[word] for word in words if word in names] + [one for one, two in PAIRS.items() if two in text]
    wanted = "" if {"not", "never"} & set(words) or not named else named[0]
    return Query(operation, argument, "", "", given[1] or given[2], wanted)


def answers(models: Mapping[str, Transformer], run: RunSpec, text: str) -> pd.DataFrame:
    """What each model answers to a text: columns model, answer, right (empty where nobody knows).

    Raises ``ValueError`` naming a word that the models do not know, an input that is too long, or saying that there is none.
    """
    layout = layout_of(run.task)
    if not text.strip():
        raise ValueError("nothing is asked; for example:  please flip this in the <sep> format : ABCD")
    layout.ids(text)  # so that an unknown word is told as it was typed
    prompt = layout.prompts([f"{text}="])
    if long := [part for part in re.findall(rf"[{LETTERS}]+", text) if len(part) > LONGEST]:
        raise ValueError(f"{long[0]} has {len(long[0])} letters; the models were trained on at most {LONGEST}")
    asked = understood(text, small_task(run.task).format)
    said = {name: layout.answer(greedy_answers(model, prompt)[0]) for name, model in models.items()}
    rows = [(name, answer, answer == asked.answer if asked else None) for name, answer in said.items()]
    if asked:
        rows.insert(0, ("right answer", asked.answer, None))
    return pd.DataFrame(rows, columns=["model", "answer", "right"])


def as_html(table: pd.DataFrame) -> str:
    """Answers as a table, wrong ones red."""
    lines = []
    for row in table.itertuples():
        colour = "color:#b00020" if row.right is False else "color:#00695c" if row.right else ""
        lines.append(f"<tr><td style='padding:.2em 1.5em .2em 0'>{html.escape(row.model)}</td>"
                     f"<td style='font:15px monospace;{colour}'>{html.escape(row.answer) or '<i>(empty)</i>'}</td></tr>")  # fmt: skip
    return f"<table>{''.join(lines)}</table>"


def examples(run: RunSpec, seed: int = 0) -> dict[str, str]:
    """One prompt of each kind about a tuning's task, by kind."""
    rng, chosen = np.random.default_rng(seed), small_task(run.task)
    return {kind: ask(kind, chosen, rng).content for kind in KINDS}


class PromptExplorer(ipw.VBox):
    """Type a prompt, or take an example of a kind, and see what every model answers."""

    def __init__(self, models: Mapping[str, Transformer], run: RunSpec):
        self.models, self.asked, self.count = dict(models), run, 0
        style = {"style": {"description_width": "5em"}}
        self.kind = ipw.Dropdown(options=list(KINDS), description="example", **style)
        self.another = ipw.Button(description="Another", icon="refresh")
        self.text = ipw.Text(description="prompt", layout=ipw.Layout(width="42em"), continuous_update=False, **style)
        self.message, self.table = ipw.HTML(), ipw.HTML()
        self.kind.observe(lambda _: self.take(), "value")
        self.another.on_click(lambda _: self.take())
        self.text.observe(lambda _: self.refresh(), "value")
        super().__init__([ipw.HBox([self.kind, self.another]), self.text, self.message, self.table])
        self.take()

    def take(self) -> None:
        """Put the next example of the chosen kind into the field."""
        self.count += 1
        self.text.value = examples(self.asked, self.count)[self.kind.value]

    def refresh(self) -> None:
        """Ask the models, or say what is wrong with the prompt."""
        self.message.value = self.table.value = ""
        try:
            self.table.value = as_html(answers(self.models, self.asked, self.text.value[:_LONGEST]))
        except ValueError as error:
            self.message.value = f"<span role='alert' style='color:#b00020'>{html.escape(str(error))}</span>"


def models_of(methods: list[Method], store: Store | None = None) -> dict[str, Transformer]:
    """The base and the first seed of each method, by name; all of one task."""
    store = store or Store()
    return {"base": store.model(methods[0].base)} | {each.name: store.model(each.runs()[0]) for each in methods}


def prompt_explorer(methods: list[Method]) -> PromptExplorer | None:
    """The widget for a person; nothing when nobody looks."""
    return None if headless() else PromptExplorer(models_of(methods), methods[0].runs()[0])
