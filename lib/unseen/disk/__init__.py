"""What lies on disk and is believed only after a look: whole files, names, weights, checkpoints, the inventory of a store."""
