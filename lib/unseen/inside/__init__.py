"""What happens inside a model that follows rules it has never seen, and what one does instead that cannot."""
