"""The way out: what waits for the network, in which batches it leaves, what is sent again."""
