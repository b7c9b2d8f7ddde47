"""Load for the real programs: devices that sign, a workload from a seed, a history of what came out, and its judge."""
