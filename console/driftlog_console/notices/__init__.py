"""A page nobody opens decides nothing: what is to be decided soon is told to a webhook."""
