"""``python -m unseen.bench``."""

from unseen.bench.compare import main

main()
