"""What notebooks 00 to 04 show before anything is measured: sets of instructions, single examples, where a model looks."""
