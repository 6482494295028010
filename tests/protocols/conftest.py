"""Property tests without wall-time limits: the machine may be busy."""

from hypothesis import settings

settings.register_profile("protocols", deadline=None)
settings.load_profile("protocols")
