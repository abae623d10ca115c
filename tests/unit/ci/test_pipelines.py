# SPDX-License-Identifier: GPL-2.0-or-later
"""The pipelines: valid by their vendors' schemas, and without a word that evh or the checkout does not know.

tests/system/test_ci.py runs their lines.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from harness.cli.app import app
from harness.core.paths import CHECKOUT
from harness.plan.flavours import FLAVOURS
from harness.plan.suites import SUITES

CI = CHECKOUT / "ci"
GITLAB = CI / "gitlab-ci.yml"
GITHUB = sorted((CI / "github").glob("*.yml"))


def valid(schema: str, path: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.prefix) / "bin" / "check-jsonschema"
    command = [str(program), "--builtin-schema", f"vendor.{schema}", str(path)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("schema", "path"), [("gitlab-ci", GITLAB), *(("github-workflows", path) for path in GITHUB)]
)
def test_pipeline_is_valid_by_its_vendors_schema(schema: str, path: Path) -> None:
    done = valid(schema, path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("schema", "text"), [("gitlab-ci", "x: {script: 5}\n"), ("github-workflows", "jobs: 5\n")]
)
def test_schemas_refuse_what_is_wrong(tmp_path: Path, schema: str, text: str) -> None:
    (tmp_path / "x.yml").write_text(text)
    assert valid(schema, tmp_path / "x.yml").returncode == 1


def lines_of(path: Path) -> list[str]:
    """Every script line of a pipeline."""
    document = YAML(typ="safe").load(path.read_text())
    if path == GITLAB:
        jobs = [document["default"], *(job for job in document.values() if isinstance(job, dict))]
        return [line for job in jobs for name in ("before_script", "script") for line in job.get(name, ())]
    steps = [step for job in document["jobs"].values() for step in job["steps"]]
    return [line for step in steps for line in step.get("run", "").splitlines()]


@pytest.mark.parametrize("path", [GITLAB, *GITHUB], ids=lambda path: path.name)
def test_every_command_and_option_exists(path: Path) -> None:
    text = "\n".join(lines_of(path))
    calls = re.findall(r"\bevh (\w+)([^|>\n;]*)", text)
    assert calls
    for command, rest in calls:
        help_text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
        for option in re.findall(r"(?<=\s)--?[a-z][a-z-]*", rest):
            assert option in help_text, f"evh {command} has no {option}"
    for program in re.findall(r"\bci/[\w-]+", text):
        assert (CHECKOUT / program).stat().st_mode & 0o111


@pytest.mark.parametrize("path", [GITLAB, *GITHUB], ids=lambda path: path.name)
def test_suites_and_flavours_exist(path: Path) -> None:
    text = path.read_text()
    assert set(re.findall(r"--suite (\w+)", text)) <= set(SUITES)
    flavours = re.search(r"EVH_FLAVOURS: (.*)", text)
    if flavours:
        assert set(flavours[1].split()) <= set(FLAVOURS)
        matrix = re.search(r"(?:FLAVOUR|flavour): \[(.*)\]", text)
        assert matrix and matrix[1].split(", ") == flavours[1].split(), "what is planned is run"


def test_no_expression_reaches_a_shell() -> None:
    """What somebody may type into a form, or name a branch, must not become part of a script."""
    for path in GITHUB:
        assert "${{" not in "\n".join(lines_of(path)), path
