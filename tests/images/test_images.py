"""The images, as far as that can be proved without a container: every step is carried out below a folder of its own.

Not proved: that the base image is there and is what it says, and how the layers come together.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from fnmatch import fnmatch
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.images.dockerfile import Stage, lineage, read

TREE = Path(__file__).parents[2]
STAGES = read(TREE / "Dockerfile")
TARGETS = {"sidecar": "leasehold-sidecar", "control-plane": "leasehold-control-plane"}
STEP_SECONDS = 180
each_target = pytest.mark.parametrize("target", TARGETS)


def user_of(target: str) -> str:
    [user] = STAGES[target].all_of("USER")
    return user.text


# --- by reading ---------------------------------------------------------------------------------------------------


@each_target
def test_an_image_runs_as_a_user_by_number_that_is_not_root(target: str) -> None:
    uid, _, gid = user_of(target).partition(":")
    assert int(uid) > 0
    assert int(gid) > 0


@each_target
def test_the_users_of_the_images_are_those_the_chart_says(target: str) -> None:
    chart = (TREE / "helm/leasehold/templates/deployment.yaml").read_text()
    values = (TREE / "helm/leasehold/values.yaml").read_text()
    uid = user_of(target).split(":")[0]
    assert f'(dict "uid" {uid})' in chart if target == "control-plane" else f"uid: {uid}\n" in values


@each_target
def test_nothing_that_builds_or_installs_is_left_in_an_image(target: str) -> None:
    final = lineage(STAGES, target)
    assert [stage.name for stage in final] == ["runtime", target]
    [uninstalling] = final[0].all_of("RUN")
    assert {"pip", "setuptools", "wheel"} <= set(uninstalling.text.split())
    for stage in final:
        for run in stage.all_of("RUN")[1 if stage.name == "runtime" else 0 :]:
            assert not re.search(r"\b(pip|gcc|build-essential|-dev)\b", run.text)
        for copy in stage.all_of("COPY"):
            assert copy.copied[0] is not None, "only what was installed comes along"
        assert not stage.all_of("ADD")


@each_target
def test_health_is_for_kubernetes_to_ask_and_the_start_is_one_program(target: str) -> None:
    final = lineage(STAGES, target)
    assert not [stage for stage in final if stage.all_of("HEALTHCHECK")]
    [entry] = STAGES[target].all_of("ENTRYPOINT")
    assert entry.listed == [TARGETS[target]]


def test_every_base_is_pinned_to_a_release_and_what_apt_brings_leaves_no_lists() -> None:
    for stage in STAGES.values():
        assert stage.base in STAGES or re.search(r":\d+\.\d+-slim-[a-z]+$", stage.base), stage.base
        for run in stage.all_of("RUN"):
            if "apt-get install" in run.text:
                assert "--no-install-recommends" in run.text
                assert run.text.rstrip().endswith("rm -rf /var/lib/apt/lists/*")


@each_target
def test_labels_say_what_it_is(target: str) -> None:
    [label] = STAGES[target].all_of("LABEL")
    for name in ("title", "description", "licenses", "version"):
        assert f"org.opencontainers.image.{name}=" in label.text
    assert f'image.version="{version("leasehold")}"' in label.text


def test_everything_that_is_installed_has_its_version_in_the_constraints() -> None:
    pinned = {
        canonicalize_name(line.split("==")[0])
        for line in (TREE / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    wanted, seen = [Requirement("leasehold[aws,kafka,otel]")], set()
    while wanted:
        requirement = wanted.pop()
        for text in requires(requirement.name) or ():
            inner = Requirement(text)
            extras = [{"extra": extra} for extra in (*requirement.extras, "")]
            if (inner.marker is None or any(map(inner.marker.evaluate, extras))) and inner.name not in seen:
                seen.add(inner.name)
                wanted.append(inner)
    assert len(seen) > 15
    assert {canonicalize_name(name) for name in seen} <= pinned


# --- by doing -----------------------------------------------------------------------------------------------------


def ignored(path: Path) -> bool:
    """By .dockerignore: everything, but for what is let in again."""
    letting_in = [line[1:] for line in (TREE / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    relative = path.relative_to(TREE).as_posix()
    return "__pycache__" in path.parts or not any(
        fnmatch(relative, pattern) or relative.startswith(pattern + "/") for pattern in letting_in
    )  # fmt: skip


class Replay:
    """Carries out a stage's steps below ``root`` instead of below ``/``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root

    def below(self, text: str) -> str:
        """Absolute paths of the image, as paths here."""
        return re.sub(r"(?<![\w./*-])/(src|wheels|opt)\b", f"{self.root}/\\1", text)

    def stage(self, stage: Stage) -> None:
        for step in stage.instructions:
            match step.word:
                case "WORKDIR":
                    self.folder = Path(self.below(step.text))
                    self.folder.mkdir(parents=True)
                case "COPY":
                    self.copy(*step.copied)
                case "RUN":
                    self.run(step.text)

    def copy(self, stage: str | None, what: list[str], where: str) -> None:
        assert stage is None, "what is copied between stages is where it was put"
        for name in what:
            source = TREE / name
            target = self.folder / where / (source.name if where.endswith("/") else "")
            if source.is_dir():
                shutil.copytree(source, self.folder / where, ignore=lambda folder, names: [
                    each for each in names if ignored(Path(folder) / each)
                ])  # fmt: skip
            else:
                assert not ignored(source), f".dockerignore keeps {name} out"
                shutil.copy(source, target)

    def run(self, text: str) -> None:
        # What the image takes from the registry is here already: see the environment's own site-packages below.
        offline = {
            "PIP_NO_DEPS": "1",
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        environment = os.environ | offline | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["sh", "-euc", self.below(text)], cwd=self.folder, env=environment, capture_output=True, text=True,
            timeout=STEP_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module", params=TARGETS)
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The target's name, and the folder of its programs."""
    replay = Replay(tmp_path_factory.mktemp(request.param))
    for stage in lineage(STAGES, f"{request.param}-installed"):
        replay.stage(stage)
    [copy] = STAGES[request.param].all_of("COPY")
    assert copy.copied == (f"{request.param}-installed", ["/opt/leasehold"], "/opt/leasehold")
    installed = replay.root / "opt/leasehold"
    [packages] = installed.glob("lib/python*/site-packages")
    # Last of all, so that nothing of ours is found there: its editable install is a file of the same kind.
    (packages / "zz-dependencies.pth").write_text(
        "import sys; sys.path += [path for path in ['" + sysconfig.get_paths()["purelib"] + "']]\n"
    )
    return request.param, installed / "bin"


def start(programs: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command, environment = [programs / str(arguments[0]), *arguments[1:]], {"PATH": f"{programs}:/usr/bin:/bin"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd="/", env=environment
    )  # fmt: skip


def test_the_entry_point_starts_from_the_installed_wheel(image: tuple[str, Path]) -> None:
    target, programs = image
    done = start(programs, TARGETS[target], "--help")
    assert done.returncode == 0, done.stderr
    assert "--config" in done.stdout
    where = start(
        programs, "python3", "-c", "import leasehold.protocol as p, leasehold.shell as s; print(p.__file__, s.__file__)"
    )
    assert all(path.startswith(str(programs.parent)) for path in where.stdout.split()), where.stdout + where.stderr


def test_it_reads_a_configuration_and_refuses_a_bad_one(image: tuple[str, Path], tmp_path: Path) -> None:
    target, programs = image
    good = tmp_path / "good.yaml"
    good.write_text(
        'etcd: {endpoints: ["http://127.0.0.1:2379"]}\nrules: {etcd: true}\n'
        + ("service: a\nhost: {pid: 1}\njournal: j\n" if target == "sidecar" else "")
        + ('capture: [{mode: forward-proxy, listen: "127.0.0.1:0"}]\n' if target == "sidecar" else "")
    )
    done = start(programs, TARGETS[target], "--config", good, "--check")
    assert done.returncode == 0, done.stderr
    (bad := tmp_path / "bad.yaml").write_text("nonsense: 1\n")
    assert start(programs, TARGETS[target], "--config", bad, "--check").returncode == 78


def test_the_sidecars_image_brings_what_the_redirect_is_installed_with(image: tuple[str, Path]) -> None:
    target, programs = image
    if target == "sidecar":
        done = start(programs, "leasehold", "capture", "install", "--help")
        assert done.returncode == 0, done.stderr
        assert "nftables" in STAGES["sidecar"].all_of("RUN")[0].text


def test_what_is_installed_has_no_installer(image: tuple[str, Path]) -> None:
    _, programs = image
    assert not list(programs.glob("pip*"))
    assert not list(programs.parent.glob("lib/python*/site-packages/pip"))
