"""DELIA in a world where the ideal is known: small tasks with a new token, diverse self-sampled data, and what the token comes to mean."""
