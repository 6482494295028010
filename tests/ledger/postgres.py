"""A PostgreSQL server of the test's own, from Debian's binaries, on a socket in a temporary folder."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote


def binaries() -> Path | None:
    """Folder of the newest installed server, if any."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def server_user() -> str | None:
    """Whom the server can run as: ourselves, or ``postgres`` for root (whom PostgreSQL refuses); None if nobody."""
    if os.getuid() != 0:
        return ""
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        return None
    return "postgres" if shutil.which("setpriv") else None


@contextmanager
def running_server(tools: Path) -> Iterator[str]:
    """URL of an empty database; the server and its files are gone afterwards."""
    user = server_user()
    prefix = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"] if user else []
    # Not pytest's folder: the server's user must be able to enter it, and socket paths are short.
    with tempfile.TemporaryDirectory(prefix="ouro-pg-", dir="/tmp") as name:
        folder = Path(name)
        if user:
            shutil.chown(folder, user, user)
        data = folder / "data"
        environment = {**os.environ, "LC_ALL": "C", "HOME": name}

        def run(*command: str | Path) -> None:
            subprocess.run(
                [*prefix, *command], check=True, capture_output=True, env=environment, cwd=name, timeout=120
            )

        run(tools / "initdb", "-D", data, "-A", "trust", "-U", "ouro", "--no-sync", "-E", "UTF8")
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
        run(tools / "pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w", "start")
        try:
            yield f"postgresql+psycopg://ouro@/postgres?host={quote(name)}"
        finally:
            run(tools / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
