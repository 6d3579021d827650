"""Carrying a recipe out: artifacts, locks, launching, progress, resume."""
