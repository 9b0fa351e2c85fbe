"""`make audit`: known holes in the locked dependencies, by pip-audit, where its data can be had."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def audited(command):
    """What pip-audit says of requirements.lock, a dict a dependency; none where it cannot say."""
    command = [*command, "--requirement", str(ROOT / "requirements.lock"), "--no-deps"]
    command += ["--disable-pip", "--progress-spinner", "off", "--format", "json"]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    return json.loads(said)["dependencies"] if said.startswith("{") else []


def told(dependencies):
    """In words what was checked, what was not, and each hole; and whether there is one."""
    checked = [one for one in dependencies if "vulns" in one]
    lines = [f"{len(checked)} of {len(dependencies)} locked dependencies checked for known holes."]
    if missing := [one["name"] for one in dependencies if one not in checked]:
        lines.append(f"NOT CHECKED, since pip-audit's data lacks them: {', '.join(missing)}")
    if not checked:
        lines = ["NOT CHECKED for known holes: pip-audit's data cannot be reached from here."]
    holes = [
        f"HOLE: {one['name']} {one['version']}: {hole['id']}, mended in {hole['fix_versions']}"
        for one in checked
        for hole in one["vulns"]
    ]
    return "\n".join([*lines, *holes]), bool(holes)


if __name__ == "__main__":
    text, holes = told(audited(sys.argv[1:]))
    print(text)
    sys.exit(holes)
