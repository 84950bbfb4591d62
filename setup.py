"""What pyproject.toml cannot say: the folders of data that travel inside the wheel.

A package named `datasets` or `migrations` at the top would shadow other people's packages of that name,
so each of these folders lies in the package that reads it.
"""

from setuptools import find_namespace_packages, setup

DATA_FOLDERS = {"predictor._data.datasets": "datasets", "scheduler._data.migrations": "migrations"}


def folders_below(package: str, folder: str) -> list[str]:
    """A folder and those below it, under the names they have in the wheel."""
    return [package, *(f"{package}.{below}" for below in find_namespace_packages(folder) if "__pycache__" not in below)]


setup(
    packages=[
        *find_namespace_packages(include=["predictor*", "scheduler*", "workers*"], exclude=["*__pycache__*"]),
        *(name for package, folder in DATA_FOLDERS.items() for name in folders_below(package, folder)),
    ],
    package_dir=DATA_FOLDERS,
    package_data={"": ["*", ".*"]},
)
