"""How good the classifier is: figures, tables and pictures."""
