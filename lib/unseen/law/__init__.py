"""What sets the threshold: its size in many settings, a law fitted to it, and that law tested on settings it has not seen.

Nobody has published this.  ``design`` says what is varied, ``measure`` finds thresholds, ``fit`` fits and predicts, ``words`` reads.
"""
