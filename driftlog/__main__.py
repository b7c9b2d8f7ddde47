"""`python -m driftlog`."""

from driftlog.cli import main

main()
