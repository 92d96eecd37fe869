"""The library inside other people's libraries: each module imports its own, so none is imported here."""
