"""Ask the law: how many different instructions would I need for this setting?  ``answer`` is the plain function behind it."""

import html

import ipywidgets as ipw

from unseen.law.factors import NAMES
from unseen.law.fit import Law
from unseen.running.progress import headless


def answer(law: Law, recipe: str = "", **levels: float) -> str:
    """One sentence: the prediction, its interval, and a warning for each level outside what was fitted; a mistake is a sentence too."""
    try:
        return f"{law.predict(recipe, **levels)}."
    except ValueError as mistake:
        return f"{mistake}."


class Asker(ipw.VBox):
    """A field for each factor that the law knows, the recipe, and below them the answer."""

    def __init__(self, law: Law):
        self.law = law
        self.recipe = ipw.Dropdown(options=list(law.bases), description="recipe")
        self.fields = {name: ipw.FloatText(law.bases[self.recipe.value][name], description=name)
                       for name in NAMES if name in law.names}  # fmt: skip
        self.said = ipw.HTML()
        self.recipe.observe(lambda _: self.reset(), "value")
        for field in self.fields.values():
            field.observe(lambda _: self.say(), "value")
        super().__init__([self.recipe, *self.fields.values(), self.said])
        self.say()

    def reset(self) -> None:
        """Go to the base of the recipe that was chosen."""
        for name, field in self.fields.items():
            field.value = self.law.bases[self.recipe.value][name]
        self.say()

    def say(self) -> None:
        """Answer for what the fields hold."""
        levels = {name: field.value for name, field in self.fields.items()}
        self.said.value = html.escape(answer(self.law, self.recipe.value, **levels))


def asker(law: Law | None) -> Asker | None:
    """The widget for a person; nothing when nobody looks, or where there is no law."""
    return None if law is None or headless() else Asker(law)
