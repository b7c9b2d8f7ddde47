"""The device registry: read by every worker, written by enrolment."""
