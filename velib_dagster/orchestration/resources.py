"""What runs, schedules and sensors are given: the platform's settings, read when they are needed.

No logic of any asset belongs here. `definitions.build_defs` wires it; tests give their own home.
"""

import dagster as dg

from velib_dagster.settings import Settings


class Platform(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The home that this code location serves: the one named, else what the environment says (`VELIB_HOME`)."""

    home: str | None = None

    def settings(self) -> Settings:
        """The home's settings as they are now.

        Raises:
            SettingsError: the home's file or a setting can't be used; the message says which.
        """
        return Settings.load(self.home)
