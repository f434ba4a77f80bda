"""The arena: published methods at their published core, one file each, against the controls that their papers
lack, in worlds where the right answer is known (notebooks 30 to 39).

A file holds a method's own functions, to be read beside its paper (claim, source, formula, what is ours),
and then its study, with its table in ``scales.toml``.  ``methods`` are those that choose from a pool;
``choosing`` is the study of notebook 30, which lets them choose.
"""
