"""Known vulnerabilities of the locked packages. An audit that audited nothing is a failure.

pip-audit ends well even where its database could not be asked about a single package; so what
counts here is how many packages were really looked up.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PIP_AUDIT = "pip-audit==2.10.1"


def main() -> int:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    uv = shutil.which("uv", path=path)
    if uv is None:
        print("audit: uv is not here: `make test` sets it up", file=sys.stderr)
        return 1
    done = subprocess.run(
        [
            *(uv, "tool", "run", "--quiet", PIP_AUDIT, "--disable-pip", "--require-hashes"),
            *("--requirement", str(ROOT / "requirements.txt"), "--format", "json"),
            *("--progress-spinner", "off"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["no report"])[-1]
        print(f"audit: nothing was audited: {last}", file=sys.stderr)
        return 1
    code, lines = verdict(report)
    print("\n".join(lines), file=sys.stderr if code else sys.stdout)
    return code


def verdict(report: dict[str, Any]) -> tuple[int, list[str]]:
    """Exit code and what to say of a report of pip-audit."""
    packages = report.get("dependencies", [])
    audited = [package for package in packages if "skip_reason" not in package]
    skipped = len(packages) - len(audited)
    found = [
        f"{package['name']} {package['version']}: {known['id']}, mended in "
        f"{', '.join(known['fix_versions']) or 'no version yet'}"
        for package in audited
        for known in package["vulns"]
    ]
    lines = [f"audit: {len(audited)} of {len(packages)} packages looked up, {len(found)} known"]
    if skipped:
        lines.append(f"audit: {skipped} could not be looked up, so nothing is known of them")
    return (1 if found or skipped or not audited else 0), found + lines


if __name__ == "__main__":
    sys.exit(main())
