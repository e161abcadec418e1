"""How much damage passes in silence: 200 files of each format, damaged in many ways.

Prints a table for the guide. A cell is the share of damaged files that are read without
an error and with visibly other pixels (by more than one of 255 levels on average). A
dash means that the reader doesn't read the format.

- skimgclf: `read_image`; strict: `check_images(strict=True)` as well
- Pillow: open and load, with its settings as they are
- OpenCV: imdecode

The pictures of which the last 4 KiB become zeros are twice as high and wide as others.
HEIC needs pillow-heif. Takes about eight minutes on two cores.

Run it with ``python examples/benchmarks/damage.py``. With ``PYTHONPATH=DIR``, the
folder of an older version, the same damage is tried on that version.
"""

import inspect
import io
import os
import random
import struct

import numpy as np
from _chunks import list_chunks
from _measure import read_arguments, report_progress
from _report import describe_run, print_table
from PIL import Image
from sklearn.datasets import load_sample_images

from skimgclf.exceptions import ImageLoadError
from skimgclf.images import check_images, read_image

N_FILES = 200
SIZE = (96, 128)  # height and width of the pictures
LARGER_SIZE = (192, 256)  # of those that lose 4 KiB, so that most of a file is left
END_OF_JPEG = b"\xff\xd9"
HAS_STRICT = "strict" in inspect.signature(check_images).parameters

# A flipped byte may ask for gigabytes of pixels. OpenCV reads this when it is imported.
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(2**24)


def make_exif(thumbnail):
    """Write EXIF data that hold a thumbnail, as cameras do."""
    stream = io.BytesIO()
    thumbnail.save(stream, "JPEG")
    content = stream.getvalue()
    # Two directories: an empty one of the picture, and one of the thumbnail.
    entries = [(0x0103, 6), (0x0201, 56), (0x0202, len(content))]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, n) for tag, n in entries)
    head = b"II*\0" + struct.pack("<IHI", 8, 0, 14)
    head += struct.pack("<H", len(entries)) + directory + bytes(4)
    return b"Exif\0\0" + head + content


THUMBNAIL = make_exif(Image.new("RGB", (32, 24), (90, 120, 30)))

FORMATS = {
    "PNG": ("PNG", {}),
    "JPEG": ("JPEG", {"quality": 90}),
    "JPEG, progressive": ("JPEG", {"quality": 90, "progressive": True}),
    "JPEG, restart markers": ("JPEG", {"quality": 90, "restart_marker_rows": 1}),
    "JPEG with a thumbnail": ("JPEG", {"quality": 90, "exif": THUMBNAIL}),
    "MPO, two pictures": ("MPO", {"quality": 90, "save_all": True}),
    "TIFF, LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "TIFF, Deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "TIFF, JPEG": ("TIFF", {"compression": "jpeg", "quality": 90}),
    "TIFF, uncompressed": ("TIFF", {}),
    "GIF": ("GIF", {}),
    "BMP": ("BMP", {}),
    "PPM": ("PPM", {}),
    "ICO, PNG": ("ICO", {}),
    "ICO, bitmap": ("ICO", {"bitmap_format": "bmp"}),
    "WEBP": ("WEBP", {"quality": 90}),
    "AVIF": ("AVIF", {"quality": 80, "speed": 10}),
    "JPEG 2000": ("JPEG2000", {"quality_mode": "rates", "quality_layers": [10]}),
    "HEIC": ("HEIF", {"quality": 80}),
}


def make_pictures(n_files, size=SIZE):
    """Crop pictures out of two photographs."""
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    draw = random.Random(0)
    height, width = size
    for number in range(n_files):
        photo = photos[number % len(photos)]
        scale = draw.uniform(1, 3 * SIZE[0] / height)
        size = round(width * scale), round(height * scale)
        left = draw.randrange(photo.width - size[0])
        top = draw.randrange(photo.height - size[1])
        crop = photo.crop((left, top, left + size[0], top + size[1]))
        yield crop.resize((width, height))


def encode(picture, image_format, options):
    """Encode a picture."""
    stream = io.BytesIO()
    if image_format == "HEIF":
        import pillow_heif

        pillow_heif.from_pillow(picture).save(stream, **options)
    else:
        if image_format == "MPO":
            options = {**options, "append_images": [picture.rotate(180)]}
        if image_format == "ICO":
            options = {**options, "sizes": [picture.size]}
        picture.save(stream, image_format, **options)
    return stream.getvalue()


def cut(content, draw):
    """Cut the second part of a file off."""
    return content[: int(len(content) * draw.uniform(0.3, 0.95))]


def cut_and_end(content, draw):
    """Cut a JPEG file, and end it as cameras and repair programs do."""
    is_jpeg = content.startswith(b"\xff\xd8")
    return cut(content, draw) + END_OF_JPEG if is_jpeg else None


def zero_tail(share):
    """Make the damage that a crash or a full disk leaves: zeros at the end."""

    def damage(content, draw):
        n_kept = round(len(content) * (1 - share))
        return content[:n_kept] + bytes(len(content) - n_kept)

    return damage


def zero_last_page(content, draw):
    """Make the damage of a file whose last part never reached the disk."""
    n_kept = max(len(content) - 4096, 0)
    return content[:n_kept] + bytes(len(content) - n_kept)


def zero_block(content, draw):
    """Put zeros into a block of an eighth of a file."""
    length = len(content) // 8
    start = draw.randrange(len(content) // 4, len(content) - length)
    return content[:start] + bytes(length) + content[start + length :]


def flip_byte(content, draw):
    """Change a byte of a chunk; all chunks of a file are as likely."""
    place = draw.randrange(*draw.choice(list_chunks(content)))
    changed = bytearray(content)
    changed[place] ^= draw.randrange(1, 256)
    return bytes(changed)


LAST_PAGE = "last 4 KiB zeros"
DAMAGES = {
    "cut": cut,
    "cut, then ended": cut_and_end,
    LAST_PAGE: zero_last_page,
    "last 25 % zeros": zero_tail(0.25),
    "last 50 % zeros": zero_tail(0.5),
    "last 75 % zeros": zero_tail(0.75),
    "a block of zeros": zero_block,
    "a byte flipped": flip_byte,
}


def read_with_skimgclf(content, size):
    """Read with skimgclf, or return None."""
    try:
        return read_image(content, image_size=size, color_mode="rgb", dtype="uint8")
    except ImageLoadError:
        return None


def read_strictly(content, size):
    """Read with skimgclf what its strict check lets pass; old versions have none."""
    if not HAS_STRICT:
        return None
    report = check_images([content], strict=True)
    return read_with_skimgclf(content, size) if report.ok[0] else None


def read_with_pillow(content, size):
    """Read with Pillow."""
    try:
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    except Exception:
        return None


def read_with_opencv(content, size):
    """Read with OpenCV."""
    import cv2

    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if pixels is None else pixels[:, :, ::-1]


READERS = {
    "skimgclf": read_with_skimgclf,
    "strict": read_strictly,
    "Pillow": read_with_pillow,
    "OpenCV": read_with_opencv,
}


def is_silent(pixels, whole):
    """Tell whether a damaged file was read with visibly other pixels."""
    if pixels is None:
        return False
    if pixels.shape != whole.shape:
        return True
    return np.abs(pixels.astype(int) - whole).mean() > 1


def measure(contents, larger):
    """Measure the share of silent damage, by damage and reader.

    `larger` are the files of larger pictures, for the damage of 4 KiB.
    """
    shares = {}
    for reader, read in READERS.items():
        whole = [read(content, SIZE) for content in contents]
        whole_larger = [read(content, LARGER_SIZE) for content in larger]
        for name, damage in DAMAGES.items():
            size, files, wholes = SIZE, contents, whole
            if name == LAST_PAGE:
                size, files, wholes = LARGER_SIZE, larger, whole_larger
            draw = random.Random(name)
            damaged = [damage(content, draw) for content in files]
            if wholes[0] is None or damaged[0] is None:
                shares[name, reader] = "-"
                continue
            silent = [
                is_silent(read(content, size), pixels)
                for content, pixels in zip(damaged, wholes, strict=True)
            ]
            shares[name, reader] = f"{100 * np.mean(silent):.0f} %"
    return shares


def main(quick=False, plots=None):
    """Print a table: damage by format, each cell the shares of all readers."""
    n_files = 20 if quick else N_FILES
    pictures = list(make_pictures(n_files))
    larger = list(make_pictures(n_files, LARGER_SIZE))
    print(describe_run("pillow", "opencv-python-headless", "pillow-heif"))
    rows = []
    for title, (image_format, options) in FORMATS.items():
        report_progress(title)
        try:
            contents = [encode(picture, image_format, options) for picture in pictures]
            others = [encode(picture, image_format, options) for picture in larger]
        except (ImportError, KeyError):
            print(f"{title}: left out, since nothing here writes it")
            continue
        shares = measure(contents, others)
        for name in DAMAGES:
            cells = [shares[name, reader] for reader in READERS]
            if set(cells) != {"-"}:
                rows.append([title, name, *cells])
    print_table(["format", "damage", *READERS], rows)


if __name__ == "__main__":
    arguments = read_arguments(__doc__)
    main(arguments.quick, arguments.plots)
