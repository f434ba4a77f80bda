"""The exercises of the notebooks: ``check.NAME(answer)`` says ✓ or gives a hint.

    from unseen import check

    check.leftmost("xcbaaba")

``check.progress()`` lists all; ``check.guess`` draws a guess on a figure.  How to add one: ``exercises``.
"""

from unseen.exercises import exercises, guess, progress

__all__ = ["guess", "progress"]  # and the exercises, by their names
globals().update(exercises())
