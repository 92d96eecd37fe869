"""Trainers of others: each module imports its own trainer, so none of them is imported here."""
