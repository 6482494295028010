"""Recordings of what a chain delivered, made from a node or generated, and played through the engine again."""
