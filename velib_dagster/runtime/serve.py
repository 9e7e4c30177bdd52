"""One part in the foreground, where something else supervises: a container, a system service.

The part is the very one of `velib up`; this process becomes it, so that signals and exit status are its own. Streaming
and standby need nothing of this: `velib stream` and `velib poll --standby` run in the foreground as they are.
"""

import os
from collections.abc import Callable
from typing import Final, NoReturn

from velib_dagster.runtime import dagster_services, mlflow
from velib_dagster.runtime.errors import PlatformError
from velib_dagster.runtime.process import Part, surroundings
from velib_dagster.settings import Settings, read_home_file

SERVED: Final[dict[str, Callable[[Settings], Part]]] = {
    "dagster_code": dagster_services.code_server,
    "dagster_web": dagster_services.webserver,
    "dagster_daemon": dagster_services.daemon,
    "mlflow": mlflow.server,
}


def serve(settings: Settings, name: str) -> NoReturn:
    """Become the part; what it needs is there once `velib prepare` has run.

    Raises:
        PlatformError: no such part, or the home was never prepared.
        SettingsError: the part has no port.
    """
    if name not in SERVED:
        msg = f"no part {name!r}: one of {', '.join(SERVED)}"
        raise PlatformError(msg)
    if read_home_file(settings.home) is None:
        msg = f"{settings.home} is not prepared: run velib prepare first"
        raise PlatformError(msg)
    part = SERVED[name](settings)
    environment = {**surroundings(), "VELIB_HOME": str(settings.home), **part.env, "VELIB_PART": part.name}
    os.chdir(part.cwd or settings.home)
    os.execve(part.argv[0], list(part.argv), environment)  # noqa: S606 - an argument list, no shell
