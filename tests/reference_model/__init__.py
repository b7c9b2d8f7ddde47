"""The algebra once more, slow and plain: every op kept, every answer computed from the ops' partial order.

It imports nothing of `driftlog_crdt`. Where the two disagree, one of them misreads the semantics tables.
"""
