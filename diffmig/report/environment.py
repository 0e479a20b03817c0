"""Where a run was computed, as far as it can change numbers: no host names, no paths."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from diffmig import __version__

_PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "diffrax",
    "orbax-checkpoint",
    "numpy",
    "scipy",
    "pandas",
)


def environment() -> dict[str, Any]:
    """Commit, versions, devices and precision of this process, without host names and paths."""
    import jax

    devices = jax.devices()
    return {
        "diffmig": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "device": {
            "platform": devices[0].platform,
            "kind": devices[0].device_kind,
            "count": len(devices),
        },
        "x64": jax.config.read("jax_enable_x64"),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Commit of the checkout that tracks this file, '+changes' if edited; None outside one."""
    here = Path(__file__).resolve()
    # An installed copy may lie inside somebody else's checkout (a venv in a repository): ask for
    # this very file.
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return None
    commit = _git(here.parent, "rev-parse", "HEAD")
    changes = _git(here.parent, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+changes" if commit and changes else commit


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
