"""Errors for people."""


class Explained(Exception):
    """Its message says to a person what is wrong and what to do; a traceback would add nothing."""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows: the sentence alone."""
        return [f"{type(self).__name__}: {self}"]


class Held(Explained):
    """Another process trains the run now; the message says which, where and since when."""


class NotFinished(Explained, KeyError):
    """A run is needed that is not finished, or not there; the message says which and what to do."""

    __str__ = Exception.__str__  # a ``KeyError`` puts its sentence into quotes
