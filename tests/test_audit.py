"""The audit of dependencies fails where it finds something, and where it looked at nothing."""

import pytest
from conftest import ROOT

SOUND = {"name": "a", "version": "1", "vulns": []}
HOLED = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([SOUND], 0, "1 of 1 packages looked up, 0 known"),
        ([], 1, "0 of 0 packages looked up"),
        ([SKIPPED], 1, "1 could not be looked up"),
        ([SOUND, SKIPPED], 1, "1 of 2 packages looked up"),
        ([SOUND, HOLED], 1, "b 2: CVE-1, mended in 3"),
    ],
)
def test_only_a_full_audit_without_findings_passes(
    packages: list, code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from audit import verdict

    found, lines = verdict({"dependencies": packages})
    assert found == code
    assert said in "\n".join(lines)
