"""A trained model as the machine: Markov algorithms it has never seen, run step by step on its own answers."""
