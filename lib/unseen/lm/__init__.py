"""Any causal language model in a local folder: checked, loaded, tuned by an adapter, sampled from, scored."""
