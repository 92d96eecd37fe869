"""The library inside other people's trainers; nothing here is imported unless it is asked for."""
