"""What to look for, and the exact integers of what was found."""
