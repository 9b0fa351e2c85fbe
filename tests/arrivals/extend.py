"""The steps of docs/extend.md, as written there, on a copy of the repository."""

import re
import subprocess
import sys

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.S | re.M)
AT_THE_END = re.compile(r"# (\S+), at the end\n")


def test_a_model_an_optimizer_and_a_figure_are_added_as_documented(checkout, environment):
    done = {"append": 0, "bash": 0, "run": 0}
    (checkout / ".venv").symlink_to(sys.prefix)
    for language, code in BLOCK.findall((checkout / "docs" / "extend.md").read_text()):
        if place := AT_THE_END.match(code):
            with (checkout / place[1]).open("a") as file:
                file.write(f"\n\n{code[place.end() :]}")
            done["append"] += 1
            continue
        command = ["python", "-c", code]
        if language == "bash":
            # The environment is this one, whatever Make finds on its age.
            command = ["bash", "-ec", re.sub(r"^make", "make -o .venv/.ready", code, flags=re.M)]
        done["bash" if language == "bash" else "run"] += 1
        answer = subprocess.run(
            command, cwd=checkout, env=environment, capture_output=True, text=True
        )
        assert answer.returncode == 0, f"{code}\n{answer.stdout}\n{answer.stderr}"
        assert language != "bash" or "pytest" not in code or " passed" in answer.stdout
    assert done == {"append": 7, "bash": 3, "run": 2}
    assert (checkout / "figures" / "smoke" / "my-figure.png").exists()
    assert "colab-cell" in (checkout / "notebooks" / "my-figure.ipynb").read_text()
