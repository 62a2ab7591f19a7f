"""What a wheel is made of; everything else stands in pyproject.toml.

The folders `analysis/` and `studies/` have names that other packages use, too, so they are imported
and installed as `fl_analysis` and `fl_studies`.
"""

from setuptools import find_packages, setup

FOLDERS = {"analysis": "fl_analysis", "studies": "fl_studies"}


def named(package: str) -> str:
    """The name under which a folder's package is imported."""
    folder, *rooms = package.split(".")
    return ".".join([FOLDERS.get(folder, folder), *rooms])


setup(
    packages=[
        named(package)
        for folder in ("fl_core", "search_spaces", *FOLDERS)
        for package in find_packages(include=[folder, f"{folder}.*"])
    ],
    package_dir={name: folder for folder, name in FOLDERS.items()},
)
