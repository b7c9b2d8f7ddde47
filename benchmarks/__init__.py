"""What Driftlog costs, beside what the plain way costs. Run with `driftlog bench`."""
