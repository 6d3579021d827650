"""What code can tell of a text: its words, language, equations, and whether it is one at all."""
