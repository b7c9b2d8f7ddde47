"""The whole of Driftlog in one process, on a log, network, disks and clocks that a seed decides."""
