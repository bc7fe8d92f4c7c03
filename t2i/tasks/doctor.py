"""`task=doctor`: can this machine do what the command line asks? One line a check: ok, warn or fail, and what to do."""

from t2i.config import Config
from t2i.context import Run
from t2i.doctor.findings import Finding, State
from t2i.errors import UserError
from t2i.store import write_json


def doctor(config: Config, run: Run) -> dict[str, float]:
    """Returns how many checks are ok, warn and fail; leaves `doctor.json`. Raises UserError when one failed."""
    from t2i.doctor.checks import CHECKS

    findings: list[Finding] = []
    for check in CHECKS:
        for finding in check(config, run):
            findings.append(finding)
            if run.main:
                _say(run, finding)
    counts = {state.value: float(sum(finding.state is state for finding in findings)) for state in State}
    if run.main:
        rows = [[finding.name, finding.state.value, finding.found, finding.remedy] for finding in findings]
        write_json(run.folder / "doctor.json", {"checks": rows})
        run.section(
            "This machine", "", [{"columns": ["check", "", "found", "what to do"], "rows": rows, "caption": ""}]
        )
    failed = [finding for finding in findings if finding.state is State.fail]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(findings)} checks failed; the first: {failed[0].name}: {failed[0].remedy}"
        )
    return counts


def _say(run: Run, finding: Finding) -> None:
    run.say(f"{finding.state.value:<5} {finding.name:<18} {finding.found}")
    if finding.remedy:
        run.say(f"{'':<25}{finding.remedy}")
