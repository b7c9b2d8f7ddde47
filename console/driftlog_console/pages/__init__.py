"""The pages: each parses, asks a view and renders; nothing is decided here."""
