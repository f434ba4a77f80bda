"""Speed, side by side in one run: ``python -m unseen.bench``."""
