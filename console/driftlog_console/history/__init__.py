"""What happened to documents: followed in the op log by a thread, kept in a bounded room on disk, and drawn."""
