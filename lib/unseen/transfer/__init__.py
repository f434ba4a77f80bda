"""Trained in one world, asked in others: rules of another form, inputs with other numbers of occurrences."""
