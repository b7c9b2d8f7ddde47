"""What is left in a damaged folder, brought into a new one."""
