"""Kafka as its clients see it, in memory: what the rims' tests give confluent's Producer, Consumer and AdminClient for."""
