"""Measured demonstrations of the tasks besides classification."""
