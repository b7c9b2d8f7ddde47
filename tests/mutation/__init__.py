"""Mutation testing of the algebra: break it in one place, and see which law notices (`make mutants`)."""
