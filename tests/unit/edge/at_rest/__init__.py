"""The edge's folder is encrypted: the cipher, its keys, their replacement, their end."""
