"""The document that gets a migration approved: facts with references, four cases, two renderings."""
