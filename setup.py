"""What pyproject.toml cannot say: the folders of data that travel inside the wheel."""

from setuptools import find_packages, setup

DATA_FOLDERS = {"predictor._data.datasets": "datasets", "scheduler._data.migrations": "migrations"}
"""A package named `datasets` or `migrations` at the top would shadow other people's; so each lies in the package that reads it."""

setup(
    packages=[*find_packages(include=["predictor*", "scheduler*", "workers*"]), *DATA_FOLDERS],
    package_dir=DATA_FOLDERS,
    package_data={"": ["**/*"]},
    exclude_package_data={"": ["**/__pycache__/*", "**/*.pyc"]},
)
