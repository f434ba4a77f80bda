"""What lies on disk and is believed only after a look: whole files, names, room, weights, checkpoints, and who holds a run."""
