"""What a migration costs and saves."""
