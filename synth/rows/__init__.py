"""What rows are made of: messages, and pairs of right and wrong answers."""
