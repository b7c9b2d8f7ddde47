"""The rim of the worker on Faust: what reads the op topic, publishes flights, recovers and acknowledges.

Faust gives us the consumer group, the assignment that puts a state partition with its ops, agents, and a service tree.
The commit position, the order of what is let through, the changelog and recovery are ours; `overrides` lists what of Faust's
private side that takes.
"""
