"""What a run leaves on disk: the contract between training and everything that looks at it."""
