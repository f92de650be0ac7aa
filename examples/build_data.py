"""Writes examples/data again from the packages that the data come from.

Promises: the same packages give the same bytes; numbers are the packages' own,
written in the shortest form that reads back as the same number. Nothing needs
this program to run: the files are checked in. It needs Python 3.11 and

    scikit-learn==1.9.1 statsmodels==0.15.0 lifelines==0.30.3 pillow==13.0.0

and is started as `python examples/build_data.py`.
"""

import csv
import importlib.metadata
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from PIL import Image
from sklearn import datasets

DATA = pathlib.Path(__file__).parent / "data"

# statsmodels' files by the name they get here: the path in the package and the delimiter.
STATSMODELS_TABLES = {
    "anes96": ("anes96/anes96.csv", "\t"),
    "co2": ("co2/co2.csv", ","),
    "elnino": ("elnino/elnino.csv", ","),
    "fertility": ("fertility/fertility.csv", ","),
    "grunfeld": ("grunfeld/grunfeld.csv", ","),
    "longley": ("longley/longley.csv", ","),
    "stackloss": ("stackloss/stackloss.csv", ","),
    "statecrime": ("statecrime/statecrime.csv", ","),
    "strikes": ("strikes/strikes.csv", ","),
}
SCIKIT_LEARN_TEXTS = ("breast_cancer", "iris", "twenty_newsgroups")
LICENCES = {"lifelines": "LICENSE", "scikit-learn": "COPYING", "statsmodels": "LICENSE.txt"}
DIGITS_PER_SIDE = 10
DIGIT_SIDE = 8


def main() -> None:
    """Write every file of the data folder but its README."""
    write_classes("iris", datasets.load_iris(), "species")
    write_classes("wine", datasets.load_wine(), "cultivar")
    write_classes("breast_cancer", datasets.load_breast_cancer(), "diagnosis")
    write_diabetes()
    write_linnerud()
    for name, (source, delimiter) in STATSMODELS_TABLES.items():
        copy_table(name, read("statsmodels", f"statsmodels/datasets/{source}"), delimiter)
    copy_table("waltons", read("lifelines", "lifelines/datasets/waltons_dataset.csv"), ",")
    for name in SCIKIT_LEARN_TEXTS:
        text = read("scikit-learn", f"sklearn/datasets/descr/{name}.rst")
        (DATA / f"{name}.txt").write_text(text)
    write_flower()
    write_digits()
    for package, file_name in LICENCES.items():
        write_licence(package, file_name)


def write_classes(name: str, bunch: Mapping[str, Any], class_name: str) -> None:
    """Write numeric columns and, last, the class by its name."""
    header = [*map(column_name, bunch["feature_names"]), class_name]
    rows = (
        [*map(number, values), bunch["target_names"][target]]
        for values, target in zip(bunch["data"], bunch["target"], strict=True)
    )
    write_table(name, header, rows)


def write_diabetes() -> None:
    """Write the diabetes data in their own units, not scaled."""
    bunch = datasets.load_diabetes(scaled=False)
    rows = (
        map(number, [*values, target])
        for values, target in zip(bunch["data"], bunch["target"], strict=True)
    )
    write_table("diabetes", [*bunch["feature_names"], "progression"], rows)


def write_linnerud() -> None:
    """Write exercises and physiology side by side, one man a row."""
    bunch = datasets.load_linnerud()
    header = [*bunch["feature_names"], *bunch["target_names"]]
    rows = (
        map(number, [*exercises, *physiology])
        for exercises, physiology in zip(bunch["data"], bunch["target"], strict=True)
    )
    write_table("linnerud", header, rows)


def copy_table(name: str, text: str, delimiter: str) -> None:
    """Copy a table cell by cell, separated by commas."""
    quote = "'" if delimiter == "\t" else '"'
    reader = csv.reader(text.splitlines(), delimiter=delimiter, quotechar=quote)
    header, *rows = ([cell.strip() for cell in row] for row in reader)
    write_table(name, header, rows)


def write_flower() -> None:
    """Write the flower in grey, each pixel the mean of a square of four."""
    with Image.open(find("scikit-learn", "sklearn/datasets/images/flower.jpg")) as colour:
        grey = colour.convert("L").reduce(2)
    header = f"P5\n{grey.width} {grey.height}\n255\n"
    (DATA / "flower.pgm").write_bytes(header.encode() + grey.tobytes())


def write_digits() -> None:
    """Write the first hundred digits as one picture, ten rows of ten."""
    images = datasets.load_digits()["images"][: DIGITS_PER_SIDE**2]
    lines = [
        " ".join(number(pixel) for image in band for pixel in image[y])
        for band in (
            images[i : i + DIGITS_PER_SIDE] for i in range(0, len(images), DIGITS_PER_SIDE)
        )
        for y in range(DIGIT_SIDE)
    ]
    side = DIGIT_SIDE * DIGITS_PER_SIDE
    (DATA / "digits.pgm").write_text("\n".join(["P2", f"{side} {side}", "16", *lines, ""]))


def write_licence(package: str, file_name: str) -> None:
    """Copy the licence of a package's own files."""
    folder = DATA / "licences"
    folder.mkdir(exist_ok=True)
    text = importlib.metadata.distribution(package).read_text(f"licenses/{file_name}")
    if text is None:
        raise FileNotFoundError(file_name)
    # After a line of dashes scikit-learn lists what is compiled in: none of it is here.
    (folder / f"{package}.txt").write_text(text.split("\n----\n")[0])


def find(package: str, path: str) -> pathlib.Path:
    """Find a file that a package brings along, without importing the package."""
    return pathlib.Path(str(importlib.metadata.distribution(package).locate_file(path)))


def read(package: str, path: str) -> str:
    """Read a text file that a package brings along."""
    return find(package, path).read_text(encoding="utf-8-sig")


def write_table(name: str, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Write one CSV file."""
    with (DATA / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def column_name(name: str) -> str:
    """Return a name without blanks and brackets: `sepal length (cm)` is sepal_length_cm."""
    return name.replace("(", "").replace(")", "").replace(" ", "_")


def number(value: float) -> str:
    """Write a number, a whole one without a point."""
    return repr(float(value)).removesuffix(".0")


if __name__ == "__main__":
    main()
