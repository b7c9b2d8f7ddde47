"""The read model as tables: what the state topic of a space says, kept in somebody else's database (see `sink`)."""
