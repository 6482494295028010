"""The page that people look at: a process of its own that reads the books and what the engine leaves in files.

Nothing here is on the path of a trade. Arrows: ``reading`` (books, files) → ``feed`` (one thread, one picture) →
``totals`` (sums) → ``pages`` (NiceGUI) and ``web`` (plain HTTP: login, halts, downloads).
"""
