"""The Dockerfile keeps to the rules that linters of Dockerfiles have, and what it copies and runs is there."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from velib_dagster_tests.docker.composed import FOLDER, ROOT

Line = tuple[str, str]


def stages() -> list[list[Line]]:
    """Instructions with their arguments, by stage; comments and line breaks gone."""
    text = (FOLDER / "Dockerfile").read_text()
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    found: list[list[Line]] = []
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            if word == "FROM":
                found.append([])
            found[-1].append((word, rest.strip()))
    return found


def of(word: str, stage: list[Line]) -> list[str]:
    return [rest for instruction, rest in stage if instruction == word]


def copied(stage: list[Line]) -> list[str]:
    """What a stage takes from the repository."""
    return [source for rest in of("COPY", stage) if "--from" not in rest for source in rest.split()[:-1]]


def test_it_has_a_stage_that_builds_and_one_that_runs() -> None:
    build, run = stages()
    assert of("FROM", build) == ["python:3.12-slim-bookworm AS build"]
    assert of("FROM", run) == ["python:3.12-slim-bookworm"], "compiled packages must meet the same Python"


def test_base_images_and_tools_have_a_version() -> None:
    for stage in stages():
        for image in of("FROM", stage):
            assert re.search(r":\d", image), f"{image} has no version"
            assert ":latest" not in image
        for rest in of("RUN", stage):
            for package in re.findall(r"pip install --no-cache-dir (\S+)", rest):
                assert "==" in package, f"{package} has no version"


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"\bsudo\b", "the build is root already"),
        (r"\bcd ", "WORKDIR says where"),
        (r"\b(curl|wget)\b", "what comes that way has no hash"),
        (r"apt-get|apk ", "nothing of the system is needed"),
        (r"\|(?!\|)", "a pipe hides the first command's failure"),
        (r"chmod (-R )?777", "everybody could write"),
    ],
)
def test_no_step_does_what_it_should_not(pattern: str, why: str) -> None:
    assert [rest for stage in stages() for rest in of("RUN", stage) if re.search(pattern, rest)] == [], why


def test_instructions_are_known_and_none_is_obsolete() -> None:
    known = {"FROM", "SHELL", "ENV", "RUN", "WORKDIR", "COPY", "USER", "HEALTHCHECK", "CMD"}
    assert {word for stage in stages() for word, _ in stage} <= known
    for stage in stages():
        assert all(path.startswith("/") for path in of("WORKDIR", stage))
        assert len(of("CMD", stage)) <= 1
        assert all(rest.startswith("[") for rest in of("CMD", stage)), "a shell would keep signals to itself"


def test_the_last_stage_runs_as_nobody_special_and_installs_nothing() -> None:
    run = stages()[-1]
    assert of("USER", run) == ["10001:10001"]
    after = [word for word, _ in run][[word for word, _ in run].index("USER") + 1 :]
    assert "RUN" not in after
    assert "COPY" not in after
    assert not re.search(r"\b(pip|uv|gcc|make|git)\b", " ".join(of("RUN", run)))
    assert [rest for rest in of("COPY", run) if "--from" in rest] == ["--from=build /opt/velib /opt/velib"]
    assert 'CMD ["velib", "health"]' in of("HEALTHCHECK", run)[0]


def test_no_secret_is_built_in() -> None:
    for stage in stages():
        for rest in of("ENV", stage):
            assert not re.search(r"(?i)password|secret|token|://", rest)
        assert of("ARG", stage) == []


def test_packages_come_by_their_hashes() -> None:
    steps = " ".join(of("RUN", stages()[0]))
    assert "uv pip sync --no-cache --require-hashes requirements.lock" in steps
    assert "uv pip install --no-cache --no-deps ." in steps


def test_what_is_taken_out_again_is_for_development_alone() -> None:
    [removed] = re.findall(r"uv pip uninstall --quiet ([\w -]+)$", "\n".join(of("RUN", stages()[0])), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[\[>=<]", item)[0] for item in project["optional-dependencies"]["dev"]}
    assert set(removed.split()) <= names
    needed = {re.split(r"[\[>=<]", item)[0] for item in project["dependencies"]}
    assert not set(removed.split()) & needed


def test_everything_copied_exists_and_reaches_the_build() -> None:
    rules = (FOLDER / "Dockerfile.dockerignore").read_text().split()
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    sources = {source.rstrip("/") for stage in stages() for source in copied(stage)}
    for source in sources:
        assert (ROOT / source).exists(), source
    assert not any(Path(".env").match(rule) for rule in allowed)


def test_the_package_builds_from_what_is_copied_and_nothing_else(tmp_path: Path) -> None:
    clean = tmp_path / "src"
    clean.mkdir()
    for source in copied(stages()[0]):
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, clean / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, clean / source)
    found = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    built = subprocess.run(
        [found, "build", "--wheel", "--python", sys.executable, "--out-dir", str(tmp_path / "out"), str(clean)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "VIRTUAL_ENV": ""},
    )
    assert built.returncode == 0, built.stderr
    [wheel] = (tmp_path / "out").glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    files = [path.relative_to(ROOT) for path in (ROOT / "velib_dagster").rglob("*") if path.is_file()]
    missing = {str(path) for path in files if "__pycache__" not in path.parts} - inside
    assert missing == set(), "files that only a checkout has"
    entry = next(name for name in inside if name.endswith("entry_points.txt"))
    assert "velib = velib_dagster.cli:main" in zipfile.ZipFile(wheel).read(entry).decode()


@pytest.mark.skipif(
    not os.environ.get("VELIB_TEST_BUILD"),
    reason="takes minutes, and a gigabyte from package registries: set VELIB_TEST_BUILD=1",
)
def test_the_build_steps_run_in_a_clean_folder(tmp_path: Path) -> None:
    """Each instruction of the first stage, in order, with the image's folders below a new one; then the command."""
    build, run = stages()
    python = tmp_path / "python"
    subprocess.run([sys.executable, "-m", "venv", str(python)], check=True)
    known = {name: value for name, value in os.environ.items() if not name.startswith(("VELIB_", "VIRTUAL_ENV"))}
    environment = {**known, "PATH": f"{python}/bin:/usr/bin:/bin", "HOME": str(tmp_path / "home")}
    folder = tmp_path

    def placed(words: str) -> str:
        return re.sub(r"(?<![\w.])/(opt/velib|src)\b", rf"{tmp_path}/\1", words)

    for word, rest in build:
        if word == "ENV":
            environment |= dict(item.split("=", 1) for item in placed(rest).split())
        elif word == "WORKDIR":
            folder = Path(placed(rest))
            folder.mkdir(parents=True)
        elif word == "COPY":
            *sources, target = rest.split()
            for source in sources:
                into = folder / target
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, into, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / source, into)
        elif word == "RUN":
            done = subprocess.run(
                ["/bin/bash", "-o", "pipefail", "-c", placed(rest)],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{rest}:\n{done.stderr[-3000:]}"
    shutil.rmtree(tmp_path / "src")
    inside = {"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    for rest in of("ENV", run):
        inside |= dict(item.split("=", 1) for item in placed(rest).replace("$PATH", "/usr/bin:/bin").split())
    java = "from velib_dagster.runtime.java import java; print(java())"
    asked = subprocess.run(
        [str(tmp_path / "opt/velib/venv/bin/python"), "-c", java],
        env=inside,
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.startswith(f"{tmp_path}/opt/velib/cache/")
    for words in ([asked.stdout.strip(), "-version"], [str(tmp_path / "opt/velib/venv/bin/velib"), "--help"]):
        subprocess.run(words, env=inside, capture_output=True, check=True)
