"""Worker processes: how one starts, who starts it again, which worker a folder is and who holds it, what is wrong around it."""
