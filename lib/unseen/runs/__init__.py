"""Runs on disk: computed once, verified when read, resumed where they stopped, distributed over workers."""
