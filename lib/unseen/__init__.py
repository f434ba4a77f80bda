"""unseen: why do language models follow instructions they have never seen?

A helper library for the notebooks in ``notebooks/``.  Data walks one way::

    spec -> instructions -> datasets -> training -> evaluation -> store -> frame -> plot

Import the rooms by name (``from unseen import rewriting, specs``); nothing happens at import.
"""

__version__ = "0.1.0"
