"""The benchmarks' parts work, in their smallest setting; nothing here is timed."""

import pathlib
import re
import time

import numpy as np
import pytest

BENCHMARKS = pathlib.Path(__file__).parent.parent / "examples" / "benchmarks"


@pytest.fixture(autouse=True)
def _import_from_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


def test_loading_contestants_load_the_same_photographs(tmp_path):
    import loading
    from _photos import make_photos

    paths = make_photos(tmp_path / "crops", "crops", 3)
    reference = loading.load_fully(paths)
    contestants = loading.choose_contestants(reduction=4)
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

    sizes = {"crops": (500, 375), "mosaics": (2048, 1536), "icons": (28, 28)}
    for kind, size in sizes.items():
        paths = make_photos(tmp_path / kind, kind, 3, n_distinct=2)
        contents = [pathlib.Path(path).read_bytes() for path in paths]
        assert contents[0] == contents[2] != contents[1]
        with Image.open(paths[1]) as image:
            assert image.size == size


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
