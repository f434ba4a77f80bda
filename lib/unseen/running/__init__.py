"""How runs are worked off: executors, signals, progress, sweeps from a table, what is followed beside the scores, what lies in a store."""
