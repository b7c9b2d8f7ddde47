"""Reading topics beside the group: in blocks, to their present end, nothing committed."""
