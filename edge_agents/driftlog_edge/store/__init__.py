"""What the replica keeps: the database, what is decided but not yet durable, the logs of commands and ops, the views on them."""
