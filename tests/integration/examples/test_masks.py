"""mask_features agrees with a search by sets, and mask_summary with what it is given."""

import itertools
import json
import pathlib
import statistics

import pytest

from support import examples_runs as examples


def write_mask(path: pathlib.Path, *lines: str) -> pathlib.Path:
    """A mask of characters: `#` is not black."""
    pixels = " ".join("1" if mark == "#" else "0" for line in lines for mark in line)
    path.write_text(f"P2\n{len(lines[0])} {len(lines)}\n1\n{pixels}\n")
    return path


def test_objects_touch_along_edges_or_at_corners_as_well(tmp_path: pathlib.Path) -> None:
    path = write_mask(tmp_path / "mask.pgm", "##..#", "..#..", ".....", "#...#")
    by_corners = examples.run("mask_features", path).answer
    assert (by_corners["objects"], by_corners["largest"], by_corners["area"]) == (4, 3, 6)
    by_edges = examples.run("mask_features", path, connectivity=4).answer
    assert (by_edges["objects"], by_edges["largest"], by_edges["area"]) == (5, 2, 6)
    assert by_edges["share"] == 6 / 20


def test_what_ends_a_line_does_not_touch_what_begins_the_next(tmp_path: pathlib.Path) -> None:
    path = write_mask(tmp_path / "mask.pgm", "..#", "#..", "..#")
    for connectivity in (4, 8):
        answer = examples.run("mask_features", path, connectivity=connectivity).answer
        assert answer["objects"] == 3


def test_small_objects_are_specks_and_count_for_nothing_else(tmp_path: pathlib.Path) -> None:
    path = write_mask(tmp_path / "mask.pgm", "##...", "##...", "....#")
    answer = examples.run("mask_features", path, smallest=2).answer
    assert (answer["objects"], answer["specks"], answer["area"]) == (1, 1, 4)
    assert (answer["centre_x"], answer["centre_y"]) == (0.5, 0.5)


def test_an_empty_mask_has_no_centre(tmp_path: pathlib.Path) -> None:
    answer = examples.run("mask_features", write_mask(tmp_path / "mask.pgm", "...")).answer
    assert (answer["area"], answer["objects"], answer["centre_x"]) == (0, 0, None)


def test_the_objects_of_a_picture_are_those_that_a_search_by_sets_finds(
    tmp_path: pathlib.Path,
) -> None:
    made = examples.run("image_threshold", "digits.pgm", output="picture").output
    mask = made.split()
    width = int(mask[1])
    left = {(place % width, place // width) for place, tone in enumerate(mask[4:]) if tone == "1"}
    area, sizes = len(left), []
    while left:
        edge, size = {left.pop()}, 0
        while edge:
            size += len(edge)
            around = {
                (x + right, y + down)
                for x, y in edge
                for right, down in itertools.product((-1, 0, 1), repeat=2)
            }
            edge = left & around
            left -= edge
        sizes.append(size)
    path = tmp_path / "mask.pgm"
    path.write_text(made)
    answer = examples.run("mask_features", path).answer
    assert (answer["area"], answer["objects"]) == (area, len(sizes))
    assert answer["largest"] == max(sizes)


def inputs_in(folder: pathlib.Path, areas: list[int]) -> dict[str, pathlib.Path]:
    """A file for each input of mask_summary."""
    names = examples.input_names("mask_summary")
    paths = {name: folder / f"{name}.json" for name in names}
    for path, area in zip(paths.values(), areas, strict=True):
        path.write_text(json.dumps({"area": area, "objects": 1}))
    return paths


def test_a_summary_is_that_of_all_fifty(tmp_path: pathlib.Path) -> None:
    areas = [n * n for n in range(50)]
    answer = examples.run_on_inputs("mask_summary", inputs_in(tmp_path, areas)).answer
    assert (answer["masks"], answer["values"]) == (50, areas)
    assert (answer["lowest"], answer["highest"]) == (0, 49 * 49)
    assert answer["mean"] == pytest.approx(statistics.fmean(areas), rel=1e-14)
    assert answer["median"] == statistics.median(areas)


def test_a_mask_without_the_feature_is_named(tmp_path: pathlib.Path) -> None:
    inputs = inputs_in(tmp_path, [1] * 50)
    inputs["mask_07"].write_text('{"objects":1}')
    run = examples.run_on_inputs("mask_summary", inputs)
    assert (run.exit_code, run.output) == (78, "")
    assert run.log == "input 'mask_07' tells no number for 'area'\n"
    inputs["mask_09"].write_text("not JSON")
    inputs["mask_07"].write_text('{"area":1}')
    assert examples.run_on_inputs("mask_summary", inputs).log == "input 'mask_09' is not JSON\n"
