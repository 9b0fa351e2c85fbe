"""`make audit`: known holes in the locked dependencies, by pip-audit, where its data can be had."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def audited(command):
    """What pip-audit says of requirements.lock, a dict a dependency; or none, and why not."""
    command = [*command, "--requirement", str(ROOT / "requirements.lock"), "--no-deps"]
    command += ["--disable-pip", "--progress-spinner", "off", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.stdout.startswith("{"):
        return json.loads(done.stdout)["dependencies"], ""
    said = done.stderr.strip().splitlines()
    return [], said[-1] if said else f"nothing, and ended with {done.returncode}"


def told(dependencies, why=""):
    """In words what was checked, what was not, and each hole; and whether there is one."""
    checked = [one for one in dependencies if "vulns" in one]
    lines = [f"{len(checked)} of {len(dependencies)} locked dependencies checked for known holes."]
    if missing := [one["name"] for one in dependencies if one not in checked]:
        lines.append(f"NOT CHECKED, since pip-audit's data lacks them: {', '.join(missing)}")
    if not checked:
        lines = [f"NOT CHECKED for known holes: pip-audit's data could not be had. It said: {why}"]
    holes = [
        f"HOLE: {one['name']} {one['version']}: {hole['id']}, mended in {hole['fix_versions']}"
        for one in checked
        for hole in one["vulns"]
    ]
    return "\n".join([*lines, *holes]), bool(holes)


if __name__ == "__main__":
    text, holes = told(*audited(sys.argv[1:]))
    print(text)
    sys.exit(holes)
