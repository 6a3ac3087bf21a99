"""How the models that the repository ships were made."""
