"""The benchmarks' parts work, in their smallest setting; nothing here is timed."""

import pathlib
import random
import re
import time

import numpy as np
import pytest

from skimgclf.images import read_image

BENCHMARKS = pathlib.Path(__file__).parent.parent / "examples" / "benchmarks"


@pytest.fixture(autouse=True)
def _import_from_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


def test_loading_contestants_load_the_same_photographs(tmp_path):
    import loading
    from _photos import make_photos

    paths = make_photos(tmp_path / "crops", "crops", 3)
    reference = loading.load_fully(paths)
    contestants = loading.choose_contestants("crops")
    assert len(contestants) >= 6
    for load in contestants.values():
        images = load(paths)
        assert images is None or images.shape == reference.shape
        assert images is None or np.abs(images - reference).mean() < 0.1
    assert np.abs(loading.load_ours(paths) - reference).mean() < 0.01


def test_cache_hits_are_compared_with_decoding(tmp_path):
    import cache_hits
    from _photos import make_photos

    paths = make_photos(tmp_path / "icons", "icons", 3)
    time.sleep(0.05)  # until then they may still change, and aren't kept
    times, ratio = cache_hits.compare(paths, 28, "rgb", tmp_path, n_rounds=1)
    assert all(microseconds > 0 for microseconds in times.values())
    assert ratio == pytest.approx(times["from the cache"] / times["decoded"])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["cache", "icons"]


def test_photos_are_of_the_size_they_say(tmp_path):
    from _photos import make_photos
    from PIL import Image

    crops = dict.fromkeys(["crops", "adobe", "pictures"], (500, 375))
    sizes = crops | {"mosaics": (2048, 1536), "icons": (28, 28)}
    for kind, size in sizes.items():
        paths = make_photos(tmp_path / kind, kind, 3, n_distinct=2)
        contents = [pathlib.Path(path).read_bytes() for path in paths]
        assert contents[0] == contents[2] != contents[1]
        with Image.open(paths[1]) as image:
            assert image.size == size


def test_photos_in_adobe_rgb_are_other_colours_than_their_numbers(tmp_path):
    from _photos import make_photos

    (path,) = make_photos(tmp_path / "adobe", "adobe", 1)
    options = {"image_size": (8, 8), "color_mode": "rgb"}
    stored = read_image(path, **options, color_management=False)
    assert np.abs(read_image(path, **options) - stored).max() > 0.02


def test_search_projects_what_a_whole_search_decodes():
    import search

    part = {"seconds": 10, "later": 2, "decodes": 700}
    whole = search.project(part, search.MEMORY, 100, 4, 5)
    assert whole == {"seconds": 18, "decodes": 1100}
    part = {"seconds": 10, "later": 2, "decodes": 1100}
    whole = search.project(part, search.PLAIN, 100, 4, 5)
    assert whole == {"seconds": 18, "decodes": 3100}
    assert search.project(part, search.PLAIN, 100, 0, 5) == part


def test_run_alone_returns_results_and_errors(tmp_path):
    import _measure

    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r})\n"
        "from _measure import answer_alone\n"
        "assert answer_alone({'divide': lambda a, b: a / b})"
    )
    assert _measure.run_alone(script, "divide", 3, 2) == 1.5
    assert "ZeroDivisionError" in _measure.run_alone(script, "divide", 3, 0)["error"]


def test_print_goals_says_what_is_met(capsys):
    import _measure

    _measure.print_goals(
        [
            ("fast", "at least", 3, 2.0),
            ("small", "at most", 3, 2.0),
            ("rare", "at most", 3, None),
        ]
    )
    last_cells = [line.split()[-2] for line in capsys.readouterr().out.splitlines()[3:]]
    assert last_cells == ["no", "yes", "measured"]


def test_run_all_describes_every_script():
    import run_all

    scripts = [BENCHMARKS / f"{name}.py" for name in run_all.SECTIONS]
    for script in filter(pathlib.Path.exists, scripts):
        description = run_all.read_description(script)
        assert description
        assert "Run it with" not in description


def test_run_all_writes_a_page_of_a_script_that_fails(tmp_path, monkeypatch):
    import run_all

    (tmp_path / "broken.py").write_text('"""Title.\n\nWhat it measures.\n"""\n1 / 0\n')
    monkeypatch.setattr(run_all, "FOLDER", tmp_path)
    monkeypatch.setattr(run_all, "SECTIONS", {"broken": ("Broken", None)})
    page = tmp_path / "docs" / "page.md"
    assert not run_all.main(["broken"], page, is_quick=True)
    text = page.read_text("utf-8")
    assert "## Broken\n\nWhat it measures." in text
    assert "failed with exit status 1" in text


def test_run_all_keeps_the_other_sections_of_its_page(tmp_path, monkeypatch):
    import run_all

    for name in "one", "two":
        (tmp_path / f"{name}.py").write_text(f'"""T.\n\nWhat.\n"""\nprint("{name}!")\n')
    monkeypatch.setattr(run_all, "FOLDER", tmp_path)
    monkeypatch.setattr(run_all, "SECTIONS", {n: (n, None) for n in ("one", "two")})
    page = tmp_path / "docs" / "page.md"
    assert run_all.main(["two"], page, is_quick=True)
    assert run_all.main(["one"], page, is_quick=True)
    both = page.read_text("utf-8")
    assert both.index("one!") < both.index("two!")
    assert run_all.main(["two"], page, is_quick=True)
    assert page.read_text("utf-8") == both


def test_run_all_sums_up_on_top_of_the_page(tmp_path, monkeypatch):
    import run_all

    code = 'print("figures\\n\\nIn short: twice as fast.")'
    (tmp_path / "one.py").write_text(f'"""T.\n\nWhat.\n"""\n{code}\n')
    monkeypatch.setattr(run_all, "FOLDER", tmp_path)
    monkeypatch.setattr(run_all, "SECTIONS", {"one": ("One", None)})
    assert run_all.main(["one"], tmp_path / "page.md", is_quick=True)
    top, section = (tmp_path / "page.md").read_text("utf-8").split("## One")
    assert top.endswith("\n- twice as fast.\n\n")
    assert "In short: twice as fast." in section


def test_run_all_says_where_figures_were_measured():
    import run_all

    words = run_all.describe_conditions(9.2, run_all.measure_others(0.1), False)
    assert re.match(r"Measured in 9 min on .* cores, .* GiB", words)
    assert "--quick" in run_all.describe_conditions(0, None, True)


def test_saved_plots_are_svg(tmp_path):
    import _report

    bars, lines = tmp_path / "bars.svg", tmp_path / "lines.svg"
    _report.save_bars(bars, {"a": {"skimgclf": 1.0, "other": 2.0}}, "seconds")
    panel = {"title": "t", "x": "x", "y": "y", "log": True, "lines": {"l": [(1, 2)]}}
    _report.save_lines(lines, [panel])
    for path in (bars, lines):
        assert "<svg" in path.read_text("utf-8")


@pytest.mark.slow
def test_scale_measures_and_multiplies(tmp_path, monkeypatch, capsys):
    import scale

    monkeypatch.setattr(scale, "N_SMALL", 2)
    monkeypatch.setattr(scale, "N_LARGE", 12)
    costs = scale.measure(tmp_path)
    assert costs["array_bytes"] == 96 * 96 * 3
    assert costs["cache_bytes"] >= 0
    costs = {"decode": 0.0036, "from_cache": 0.00036, "train": 0.0144}
    scale.show_scale({**costs, "cache_bytes": 2**15, "array_bytes": 2**14})
    lines = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()]
    rows = [[cell.strip() for cell in line] for line in lines if line]
    assert ["1,000,000", "1", "31 GiB", "15 GiB"] in rows
    assert ["100,000,000", "training from JPEG files", "500", "31", "2"] in rows


@pytest.fixture
def digits(digit_folder):
    return str(digit_folder)


def test_accuracy_splits_by_class_and_draws_only_training_images_by_seed(digits):
    import accuracy

    data = accuracy.Data(digits, n_train=100, n_test=50)
    first, second = data.split(0), data.split(1)
    paths, test_paths, y, _ = first
    assert (len(paths), len(test_paths)) == (100, 50)
    assert set(paths).isdisjoint(test_paths)
    assert np.unique(y, return_counts=True)[1].tolist() == [10] * 10
    assert list(test_paths) == list(second[1])
    assert set(paths) != set(second[0])
    assert [pathlib.Path(path).parent.name for path in paths] == list(y)
    assert len(accuracy.Data(digits, None, 50).split(0)[0]) == 1797 - 50


@pytest.mark.parametrize(
    "way",
    [
        "pixels",
        *(
            pytest.param(way, marks=pytest.mark.slow)
            for way in ("cnn_by_hand", "hog", "keras")
        ),
    ],
)
def test_accuracy_measures_a_way(way, digits):
    import accuracy

    # The fast case has fewer pixels, on which a regression is soon fitted.
    side = 8 if way == "pixels" else 16
    settings = {"image_size": [side, side], "epochs": 1}
    data = {"path": f"{digits}/digits.csv", "n_train": 100, "n_test": 50}
    result = accuracy.measure(way, settings, data, 0)
    assert set(result) == {"fit", "predict", "accuracy"}
    assert result["fit"] > 0
    assert result["predict"] > 0
    assert result["accuracy"] > (0.5 if way in ("hog", "pixels") else 0)


def test_accuracy_makes_every_way_of_this_package():
    import _accuracy_ways as ways

    for way in ways.OURS:
        own = ways.WAYS[way][1](ways.Settings((40, 48), None, 3))
        short = ways.WAYS[way][1](ways.Settings((40, 48), 2, 3))
        assert own[-1].random_state == 3
        assert own[-1].epochs > short[-1].epochs == 2
        own_size = way in ("textbook", "digits", "few_photos")
        assert (own[0].image_size == (40, 48)) != own_size


def test_accuracy_shows_medians_the_most_accurate_first(capsys):
    import accuracy

    runs = {
        "slow": [{"fit": 9, "predict": 2, "accuracy": a} for a in (0.5, 0.9, 0.8)],
        "fast": [{"fit": f, "predict": 1, "accuracy": 0.85} for f in (1, 3, 2)],
    }
    medians = accuracy.show_results(runs, n_test=100)
    assert list(medians) == ["fast", "slow"]
    assert medians["fast"]["fit"] == 2
    rows = capsys.readouterr().out.splitlines()[2:]
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    assert cells[0] == ["fast", "0.850 (0.850 to 0.850)", "2.0", "10.00"]
    assert cells[1] == ["slow", "0.800 (0.500 to 0.900)", "9.0", "20.00"]


def test_accuracy_leaves_out_ways_that_fail_or_are_missing(digits, capsys, monkeypatch):
    import accuracy

    def run(script, name, way, settings, data, seed):
        if way == "dense":
            return {"error": "ValueError: no"}
        return {"fit": 1.0, "predict": 1.0, "accuracy": (settings["epochs"] or 9) / 100}

    monkeypatch.setattr(accuracy, "run_alone", run)
    monkeypatch.setattr(accuracy, "list_installed", lambda: ["dense", "photos"])
    arguments = f"D={digits} --only fastai dense photos --epochs 5 1 --seeds 2".split()
    accuracy.main(*accuracy.read_arguments(arguments))
    printed = capsys.readouterr().out
    assert "fastai, xresnet18 isn't installed" in printed
    assert "dense, defaults fails: ValueError: no" in printed
    assert "**D: 1,437 training images**, 360 test images, 32x32 pixels" in printed
    assert re.findall(r"^\| (\S.*?) +\| 0", printed, re.MULTILINE) == [
        '"photos"',
        '"photos", 5 epochs',
        '"photos", 1 epoch',
    ]


def test_accuracy_takes_names_of_data(tmp_path):
    import accuracy

    (tmp_path / "a=b").mkdir()
    assert accuracy.name_source("My photos=x/y") == ("My photos", "x/y")
    assert accuracy.name_source("x/photos.csv") == ("photos", "x/photos.csv")
    assert accuracy.name_source(f"{tmp_path}/a=b") == ("a=b", f"{tmp_path}/a=b")
    assert accuracy.read_arguments([])[0] == {accuracy.DIGITS: None}


def test_names_in_a_plot_cover_no_point_and_no_other_name(tmp_path, pyplot):
    import _report

    points = [(f"name {i}", 10 + i, 0.5, i > 2) for i in range(5)]
    points += [("at the right edge", 100, 0.6, True)]
    fig, ax = pyplot.subplots()
    ax.scatter([point[1] for point in points], [point[2] for point in points])
    fig.canvas.draw()
    texts = _report.name_points(ax, points)
    boxes = [text.get_window_extent() for text in texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    pixels = [ax.transData.transform(point[1:3]) for point in points]
    assert not any(box.contains(*place) for box in boxes for place in pixels)
    assert boxes[-1].x1 < pixels[-1][0]

    path = tmp_path / "points.png"
    _report.save_points(path, [{"title": "t", "points": points}], "x", "y")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_run_all_replaces_only_the_figures_of_the_accuracy_page(tmp_path, monkeypatch):
    import run_all

    (tmp_path / "accuracy.py").write_text(
        '"""T.\n\nWhat.\n"""\nimport pathlib, sys\nprint(sys.argv[1:3])\n'
        'path = pathlib.Path(sys.argv[sys.argv.index("--output") + 1])\n'
        "path.parent.mkdir(exist_ok=True)\npath.touch()\n"
    )
    monkeypatch.setattr(run_all, "FOLDER", tmp_path)
    page = tmp_path / "accuracy.md"
    page.write_text(
        "# Accuracy\n\nHead.\n\n## Measured\n\nOld.\n\n## Advice\n\nMine.\n"
    )
    for _ in range(2):
        assert run_all.write_accuracy(["photos", "--only"], page, is_quick=True)
    text = page.read_text("utf-8")
    assert text.startswith("# Accuracy\n\nHead.\n\n## Measured\n\nWhat.\n")
    assert text.endswith("\n\n## Advice\n\nMine.\n")
    assert text.count("['photos', '--only']") == 1
    assert "](_static/accuracy.png)" in text
    assert "Old." not in text


def test_few_photos_draws_more_photos_that_contain_the_fewer_ones(digits):
    import few_photos

    photos = few_photos.read_photos(digits, n_test=6)
    paths, y, test_paths, y_test = photos.draw(3, 4, seed=0)
    more, _, same_test_paths, _ = photos.draw(3, 8, seed=0)
    assert (len(paths), len(more), len(test_paths)) == (12, 24, 18)
    assert set(paths) < set(more)
    assert test_paths == same_test_paths
    assert set(more).isdisjoint(test_paths)
    assert set(photos.draw(3, 8, seed=1)[0]) != set(more)
    for labelled, labels in [(paths, y), (test_paths, y_test)]:
        assert [pathlib.Path(path).parent.name for path in labelled] == labels


def test_few_photos_cuts_patches_for_training_and_test(tmp_path, monkeypatch):
    import few_photos
    from PIL import Image

    halves = np.repeat([[0, 255]], 150, axis=1).astype(np.uint8)
    photo = np.broadcast_to(halves[..., np.newaxis], (200, 300, 3))
    monkeypatch.setattr(few_photos, "load_sharp_photos", lambda: {"halves": photo})
    photos = few_photos.cut_patches(tmp_path, n_test=2)
    assert photos.n_per_class == len(photos.train["halves"]) == few_photos.N_PATCHES
    assert len(photos.test["halves"]) == 2
    for part, value in [(photos.train, 0), (photos.test, 255)]:
        pixels = np.asarray(Image.open(part["halves"][0]))
        assert pixels.shape == (96, 96, 3)
        assert (pixels == value).all()


def test_few_photos_has_its_sharp_photos():
    import few_photos

    shapes = [photo.shape for photo in few_photos.load_sharp_photos().values()]
    assert len(shapes) == 10
    assert all(height >= 96 and width >= 192 for height, width, _ in shapes)


def test_few_photos_makes_every_way():
    import few_photos

    made = {way: make((40, 48), 3) for way, make in few_photos.WAYS.items()}
    assert all(pipeline[0].image_size == (40, 48) for pipeline in made.values())
    assert made["fine-tuned"][-1].fine_tune == "all"
    assert made["softmax"][-1].random_state == made["fine-tuned"][-1].random_state == 3


def test_few_photos_shows_curves(digits, tmp_path, capsys, monkeypatch):
    import few_photos

    class Pipeline:
        def fit(self, paths, y):
            self.n_samples = len(paths)

        def score(self, paths, y):
            return self.n_samples / 100

    class Better(Pipeline):
        def score(self, paths, y):
            return super().score(paths, y) + 0.25

    ways = {"softmax": Pipeline, "fine-tuned": Better}
    ways = {way: lambda size, seed, cls=cls: cls() for way, cls in ways.items()}
    monkeypatch.setattr(few_photos, "WAYS", ways)
    monkeypatch.setattr(few_photos, "load_modules", lambda way: None)
    photos = {name: np.zeros((96, 192, 3), np.uint8) for name in ("dark", "black")}
    monkeypatch.setattr(few_photos, "load_sharp_photos", lambda: photos)
    plot = tmp_path / "curve.svg"
    arguments = f"D={digits} --per-class 4 40 400 --n-test 6 --classes 2"
    few_photos.main(
        *few_photos.read_arguments([*arguments.split(), "--output", str(plot)])
    )
    printed = capsys.readouterr().out
    rows = re.findall(r"^\| (\d+) +\| ([\d.]+) +\| ([\d.]+) +\|", printed, re.MULTILINE)
    # Of the digits, no class has 400; of each patch there are 20.
    assert rows == [
        ("4", "0.080", "0.330"),
        ("40", "0.800", "1.050"),
        ("4", "0.080", "0.330"),
    ]
    assert "+0.250 (+0.250, +0.250)" in printed
    assert "<svg" in plot.read_text("utf-8")


def test_damage_that_formats_can_tell_is_never_silent():
    """What the guide's table says of PNG and JPEG, with few pictures."""
    import damage

    for title in ["PNG", "JPEG"]:
        files = [
            [
                damage.encode(picture, *damage.FORMATS[title])
                for picture in damage.make_pictures(3, size)
            ]
            for size in [damage.SIZE, damage.LARGER_SIZE]
        ]
        shares = damage.measure(*files)
        told = list(damage.DAMAGES)[:6] if title == "JPEG" else list(damage.DAMAGES)
        assert {shares[name, "skimgclf"] for name in told} <= {"0 %", "-"}
    assert shares["cut, then ended", "Pillow"] == "100 %"


def test_your_photos_writes_the_page_with_its_source(tmp_path):
    import your_photos

    source = tmp_path / "source"
    for name in ["cat/a.jpg", "cat/b.jpg", "cat/c.jpg", "dog/d.jpg", "dog/e.jpg"]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(f"content of {name}")
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- measured -->\nold\n<!-- end of measured -->\n\n```python\n"
        "from pathlib import Path\n\n"
        "for path in sorted(Path('photos').rglob('*.jpg')):\n"
        "    name = path.relative_to('photos').as_posix()\n"
        "    print(len(path.read_text()), name)\n```\n\n"
        "```text\n```\n"
    )
    your_photos.write_page("my photos", source, 2, page)
    written = page.read_text()
    assert "\nThe outputs and pictures are of my photos, 2 of each of 2 cl" in written
    assert "old" not in written
    printed = re.search(r"```text\n(.*?)```", written, re.DOTALL)[1].splitlines()
    whole = ["cat/b.jpg", "dog/d.jpg", "dog/e.jpg"]
    copies = [name.replace(".", " - Copy.") for name in whole]
    assert sorted(line for line in printed if line.startswith("20 ")) == sorted(
        f"20 {name}" for name in whole + copies
    )
    assert [line for line in printed if not line.startswith("20 ")] == ["10 cat/a.jpg"]


def test_damage_changes_a_byte_in_any_chunk_of_any_format():
    import damage
    from _chunks import list_chunks

    (picture,) = damage.make_pictures(1)
    for title, (image_format, options) in damage.FORMATS.items():
        content = damage.encode(picture, image_format, options)
        chunks = list_chunks(content)
        assert len(chunks) >= 2 or image_format == "WEBP", title
        ends = [0, *(end for _, end in chunks)]
        assert all(
            before <= start < end <= len(content)
            for before, (start, end) in zip(ends, chunks, strict=False)
        ), title
        covered = sum(end - start for start, end in chunks)
        assert covered > 0.9 * len(content), title
        draw = random.Random(0)
        changed = [damage.flip_byte(content, draw) for _ in range(5)]
        assert all(len(each) == len(content) for each in changed), title
        assert content not in changed, title
