"""What a user would write instead of this package, as a fair program of its kind."""
