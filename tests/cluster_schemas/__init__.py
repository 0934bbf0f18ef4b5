"""What the files of cluster/ are checked against."""
