"""The errors that the platform words itself; those of a folder derive from them."""


class VelibError(Exception):
    """What the platform itself says went wrong: to what, and what to do. Shown as it is, without a traceback."""


class SettingsError(VelibError):
    """A setting, or the home's file, can't be used; the message says which and what to do."""
