"""The main study, notebooks 10 to 12: how many different instructions it takes, and in which task worlds."""
