"""The wheel: what a stranger installs works in an empty directory, without the clone."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from valence import __version__
from valence.recipe import packaged_recipes

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    subprocess.run([*pip, "wheel", *options, "-w", str(folder), str(ROOT)], check=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new environment with the wheel; dependencies are this one's."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    (site,) = home.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    # Only `pip --python` installs for another environment; it needs no pip there.
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    python = str(home / "bin" / "python")
    options = ["--no-deps", "--no-index", "--ignore-installed"]
    subprocess.run([*pip, "--python", python, "install", *options, str(wheel)], check=True)
    return home / "bin"


def call(command: list[str | Path], folder: Path) -> str:
    """What a command prints, started in a folder with no sign of this environment."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    ended = subprocess.run(
        command,
        cwd=folder,
        env=env | {"OMP_WAIT_POLICY": "passive"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_recipes_style_and_licence_travel_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for name in packaged_recipes():
        assert f"valence/recipes/{name}.yaml" in names
    assert "valence/report/page.css" in names
    assert f"valence-{__version__}.dist-info/licenses/LICENSE" in names
    assert not [name for name in names if "test" in name or "__pycache__" in name]


def test_the_wheel_holds_every_file_of_the_source(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("valence/")}
    source = ROOT / "src"
    assert names == {
        path.relative_to(source).as_posix()
        for path in (source / "valence").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_installed_package_is_used_and_not_the_clone(installed: Path, tmp_path: Path) -> None:
    code = "import valence; print(valence.__version__, valence.__file__)"
    version, file = call([installed / "python", "-c", code], tmp_path).split()
    assert version == __version__
    assert Path(file).is_relative_to(installed.parent)


def test_recipes_and_plans_work_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    listed = call([installed / "valence", "recipes"], tmp_path)
    assert [line.partition(":")[0] for line in listed.splitlines()] == list(packaged_recipes())
    plan = call([installed / "valence", "run", "demo", "--dry-run"], tmp_path)
    assert "training FLOPs" in plan
    css = "from importlib.resources import files; print(files('valence.report') / 'page.css')"
    assert Path(call([installed / "python", "-c", css], tmp_path).strip()).is_file()
    assert not list(tmp_path.iterdir())
