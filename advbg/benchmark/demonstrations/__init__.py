"""What the method is worth beyond classification: measured demonstrations of other tasks."""
