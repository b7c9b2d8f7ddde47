"""The core of the worker: what is decided. No I/O, no clock, no randomness; the simulation runs these very files."""
