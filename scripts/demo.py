"""The demo: a bank's exports, the nightly DAG on them through Airflow, the credit at the end.

Everything lies below var/. `--serve` brings up Airflow's web page on it instead of ending.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "var"
AIRFLOW_HOME = HOME / "airflow"
BIN = Path(sys.executable).parent
CUSTOMERS = os.environ.get("CUSTOMERS", "20000")


def main() -> int:
    environment = os.environ | {
        "ATTRIBUTION_HOME": str(HOME),
        "ATTRIBUTION_HMAC_KEY": _demo_key(),
        "AIRFLOW_HOME": str(AIRFLOW_HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": os.environ.get("PORT", "8080"),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{os.environ.get('PORT', '8080')}",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }
    _say("1/3 simulating the exports of a bank and insurance group")
    _run([BIN / "attribution", "simulate", "--customers", CUSTOMERS], environment)
    _say("2/3 preparing Airflow's embedded database")
    _prepare_airflow(environment)
    if "--serve" in sys.argv[1:]:
        _say(
            "3/3 starting Airflow; its web page and the password of `admin` follow, Ctrl-C ends it"
        )
        environment["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "INFO"
        # the first task may begin before Airflow's own API listens
        environment["AIRFLOW__WORKERS__EXECUTION_API_RETRIES"] = "12"
        os.execve(BIN / "airflow", ["airflow", "standalone"], environment)  # noqa: S606
    _say("3/3 running the DAG attribution_nightly")
    _run_logged([BIN / "airflow", "dags", "test", "attribution_nightly"], environment)
    _run([BIN / "attribution", "status"], environment)
    return 0


def _demo_key() -> str:
    """A pseudonym key of the demo's own, made once."""
    path = HOME / "demo.key"
    HOME.mkdir(exist_ok=True)
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path.read_text()


def _prepare_airflow(environment: dict[str, str]) -> None:
    ready = AIRFLOW_HOME / "ready"
    if ready.exists():
        return
    _run_logged([BIN / "airflow", "db", "migrate"], environment)
    pool = ("pools", "set", "attribution", "1", "the warehouse has one writer")
    _run_logged([BIN / "airflow", *pool], environment)
    ready.touch()


def _run(command: list[str | Path], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def _run_logged(command: list[str | Path], environment: dict[str, str]) -> None:
    """Keep the command's many lines in a file; show the end of them where it fails."""
    path = HOME / "airflow.log"
    with path.open("a") as log:
        done = subprocess.run(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        lines = path.read_text(errors="replace").splitlines()
        print("\n".join(lines[-25:]), file=sys.stderr)
        sys.exit(f"demo: `{' '.join(map(str, command[:3]))}` failed; the whole log is {path}")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
