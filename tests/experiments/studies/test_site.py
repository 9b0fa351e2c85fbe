"""The workflow publishes what `make docs` builds; that the site is readable tests/arrivals sees."""

import re

import yaml

from langevin.experiments.training.store import root


def test_the_workflow_publishes_what_make_docs_makes():
    flow = yaml.safe_load((root() / ".github" / "workflows" / "site.yml").read_text())
    [job] = flow["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == ["make figures PROFILE=paper", "make docs"]
    makefile = (root() / "Makefile").read_text()
    targets = re.findall(r"^([\w-]+)(?=.*:)", makefile, re.M)
    assert {"figures", "docs"} <= set(targets)
    used = [step.get("uses", "").partition("@")[0] for step in job["steps"]]
    upload = used.index("actions/upload-pages-artifact")
    assert used.index("actions/deploy-pages") > upload
    assert job["steps"][upload]["with"]["path"] == "build/site" and "docs build/site" in makefile
    assert flow["permissions"] == {"contents": "read", "pages": "write", "id-token": "write"}
