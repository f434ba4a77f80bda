"""What notebooks 01 to 03 show before anything is measured, and ``inside`` builds on: sets of instructions, single examples, where a model looks."""
