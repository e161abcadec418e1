"""Pillow's warnings, settings and defects, which read_image keeps to itself."""

import io
import os
import pickle
import struct
import threading
import time
import warnings

import numpy as np
import PIL
import pytest
from image_corpus import FULL_SIZE, by_name
from PIL import Image, ImageFile
from sample_images import (
    HEIGHT,
    WIDTH,
    encode,
    make_png,
    make_scene,
    make_tiff,
)
from sklearn.utils.parallel import Parallel, delayed

from skimgclf.exceptions import ImageLoadError
from skimgclf.images import read_image
from skimgclf.images._decoding.pillow_repairs import (
    count_stored_pixels,
    isolated,
    read_tags,
    read_transparent_colour,
)
from skimgclf.images._decoding.reasons import UnreadableImage


def test_repair_warning_filter_hides_remarks_on_metadata(tmp_path):
    """Remarks on metadata are no warnings, and no errors under -W error."""
    levels = make_scene()[:, :, 0].tobytes()
    # A description that claims a million characters: Pillow skips it and warns.
    entry = struct.pack("<HHI", 270, 3, 1)
    content = make_tiff(levels, bits=[8], photometric=1, tags=[(270, 3, [0])])
    remarkable = content.replace(entry, struct.pack("<HHI", 270, 3, 10**6))
    with pytest.warns(UserWarning, match="Skipping tag 270"):
        Image.open(io.BytesIO(remarkable))
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = read_image(remarkable, image_size=FULL_SIZE, dtype="uint8")
    assert caught == []
    assert image.tobytes() == levels
    read_image(remarkable, image_size=FULL_SIZE)  # the tests' own filter: error
    assert warnings.filters == before


@pytest.mark.filterwarnings("error")
def test_decoding_hides_no_warnings_of_other_threads():
    """While one thread decodes, another's warnings are shown."""
    stop = threading.Event()
    content = encode(make_scene(), "PNG")

    def decode():
        while not stop.is_set():
            read_image(content, image_size=(8, 8))

    thread = threading.Thread(target=decode)
    thread.start()
    try:
        for number in range(200):
            with pytest.raises(UserWarning, match=f"mine {number}"):
                warnings.warn(f"mine {number}", stacklevel=1)
    finally:
        stop.set()
        thread.join()


def run_in_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_warning_filter_may_travel_to_workers():
    """The filter set during a decode can be copied, as scikit-learn's Parallel does."""
    tasks = [delayed(warnings.warn)("seen in the worker")]
    with isolated(1):
        with pytest.warns(UserWarning, match="seen in the worker"):
            run_in_thread(lambda: Parallel(n_jobs=1)(tasks))
        assert pickle.loads(pickle.dumps(warnings.filters))


def test_pillow_globals_are_safe_in_threads(monkeypatch):
    """With LOAD_TRUNCATED_IMAGES set, threads find every truncation, and it is kept."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    half, whole = by_name("half.jpg").content, by_name("RGB-90.jpg").content
    expected = read_image(whole, image_size=(8, 8))
    wrong = []

    def decode():
        for _ in range(60):
            if not np.array_equal(read_image(whole, image_size=(8, 8)), expected):
                wrong.append("another image")
            try:
                read_image(half, image_size=(8, 8))
            except ImageLoadError:
                continue
            wrong.append("silent")

    threads = [threading.Thread(target=decode) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_pillow_globals_are_put_back_in_a_fork(monkeypatch):
    """A child forked during a decode has the globals as the user set them."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with isolated(1):
        child = os.fork()
        if child == 0:
            half = by_name("half.jpg").content
            kept = ImageFile.LOAD_TRUNCATED_IMAGES is True
            try:
                read_image(half, image_size=(8, 8))
            except ImageLoadError:
                os._exit(0 if kept else 2)
            os._exit(1)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def signed_tiff_that_lost_its_sign():
    """Return a TIFF whose entry on signed samples is unreadable: Pillow skips it."""
    levels = np.full((HEIGHT, WIDTH), 30000, dtype="<i2")
    content = make_tiff(
        levels.tobytes(), bits=[16], photometric=1, tags=[(339, 3, [2])]
    )
    entry = struct.pack("<HHI", 339, 3, 1)
    assert content.count(entry) == 1
    return content.replace(entry, struct.pack("<HHI", 339, 99, 1))


def test_repair_check_directory_finds_lost_tags_whatever_was_warned_of_before():
    """Pillow's warning of a lost tag is given once in a process: it can't be asked."""
    content = signed_tiff_that_lost_its_sign()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        for _ in range(2):
            with Image.open(io.BytesIO(content)) as image:
                image.load()
            with pytest.raises(ImageLoadError, match="TIFF directory"):
                read_image(content, image_size=(8, 8))


def test_repair_find_stream_lets_pil_images_be_checked():
    """An opened file gets the same check as its path."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(signed_tiff_that_lost_its_sign()))
    with pytest.raises(ImageLoadError, match="TIFF directory"):
        read_image(image, image_size=(8, 8))


def test_tiff_directory_is_checked_while_others_swap_warning_filters():
    """Another thread's catch_warnings replaces the filters under our feet."""
    content, stop = signed_tiff_that_lost_its_sign(), threading.Event()

    def swap():
        while not stop.is_set():
            with warnings.catch_warnings():
                pass

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(300):
            with pytest.raises(ImageLoadError, match="TIFF directory"):
                read_image(content, image_size=(8, 8))
    finally:
        stop.set()
        thread.join()


def test_repair_count_stored_pixels_finds_rows_that_no_strip_holds():
    """Pillow leaves them black."""
    content = make_tiff(bytes(WIDTH * HEIGHT), bits=[8], photometric=1)
    height = struct.pack("<HHII", 257, 3, 1, HEIGHT)
    assert content.count(height) == 1
    taller = content.replace(height, struct.pack("<HHII", 257, 3, 1, HEIGHT + 5))
    with Image.open(io.BytesIO(taller)) as image:
        image.load()
    with pytest.raises(ImageLoadError, match="its strips hold only a part"):
        read_image(taller, image_size=(8, 8))


@pytest.mark.parametrize(
    ("bits", "value", "colour"), [(2, 2, 170), (4, 9, 153), (8, 9, 9)]
)
def test_repair_read_transparent_colour_scales_it(bits, value, colour):
    """Of a PNG file that is all transparent, nothing is seen."""
    row = bytes([sum(value << shift for shift in range(0, 8, bits))] * bits)
    extra = [(b"tRNS", struct.pack(">H", value))]
    content = make_png([row] * 4, bits, 0, width=8, extra=extra)
    with Image.open(io.BytesIO(content)) as image:
        assert np.asarray(image).ravel().tolist() == [colour] * 32
    assert (read_image(content, image_size=(2, 2)) == 1).all()


@pytest.mark.parametrize(
    "repair", [read_transparent_colour, count_stored_pixels, read_tags]
)
def test_repair_read_attribute_fails_loudly_where_a_name_is_gone(repair):
    image = Image.new("L", (4, 4))  # has neither `tile` nor `tag_v2`
    image.format, image.info["transparency"] = "PNG", 3
    with pytest.raises(UnreadableImage, match=rf"Pillow {PIL.__version__} has no"):
        repair(image)


def test_tiff_between_pillows_limits_is_read(monkeypatch):
    """Pillow warns of such a size, which is no damage."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60_000)
    content = encode(np.full((300, 300), 7, dtype="uint8"), "TIFF")
    image = read_image(content, image_size=(2, 2), dtype="uint8", max_pixels=100_000)
    assert image.ravel().tolist() == [7] * 4


def test_palette_with_alpha_is_put_on_the_background():
    """A palette may hold alpha itself, without a transparent index."""
    clear_red = Image.new("RGBA", (8, 8), (255, 0, 0, 0)).quantize(4)
    assert clear_red.palette.mode == "RGBA"
    image = read_image(clear_red, image_size=(2, 2), color_mode="rgb", dtype="uint8")
    assert image.ravel().tolist() == [255] * 12


def test_repair_load_stream_decodes_again_after_settings_changed(monkeypatch):
    """Whoever asks for truncated images during a decode gets no say in it."""
    half = encode(make_scene(), "BMP")[:-100]
    load = ImageFile.ImageFile.load
    calls = []

    def load_as_somebody_interferes(image):
        calls.append(image)
        if len(calls) == 1:
            monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", load_as_somebody_interferes)
    with pytest.raises(ImageLoadError, match="cut short"):
        read_image(half, image_size=(8, 8))
    assert calls[-1] is not calls[0]
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_a_forked_child_reads_pil_images_while_a_thread_of_its_parent_did():
    """The lock for PIL images is renewed: no thread of the child holds it."""
    from skimgclf.images._decoding import pil_images

    with pil_images._lock:
        child = os.fork()
        if child == 0:
            read_image(Image.new("L", (4, 4), 9), image_size=(1, 1))
            os._exit(0)
        for _ in range(100):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                break
            time.sleep(0.1)
        else:
            os.kill(child, 9)
            os.waitpid(child, 0)
    assert done
    assert os.waitstatus_to_exitcode(status) == 0
