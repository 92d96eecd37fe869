"""The library inside other people's libraries; nothing here is imported unless it is asked for."""
