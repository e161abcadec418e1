"""Photographs to measure loading on, made from the two that scikit-learn ships.

What a JPEG costs to decode depends on its detail, hence three kinds:

- crops: pieces of 500x375 pixels, cut out where chance has it, mirrored or not. These
  are real photographs pixel by pixel.
- mosaics: the photographs, each continued by its own mirror images, from which pieces
  of 2048x1536 are cut. Every pixel keeps the detail of the original, which was reduced
  to 640x427: as many bytes a pixel as a sharp photograph has, and more than most.
- enlargements: crops enlarged to 2048x1536 (Lanczos): as few bytes a pixel as a soft
  photograph has, as telephones take in poor light.

All are written as baseline JPEG with 4:2:0 subsampling, as cameras and web pages do.
Crops are also written as cameras write Adobe RGB, as PNG in colour, and as icons.
"""

import os

import numpy as np
from PIL import ExifTags, Image
from sklearn.datasets import load_sample_images

QUALITY = 85

CROP, LARGE, ICON = (375, 500), (1536, 2048), (28, 28)


def make_photos(folder, kind, n_files, *, n_distinct=None, seed=0):
    """Write photographs.

    Parameters
    ----------
    folder : str
        Where to make them; must not exist.
    kind : {"crops", "mosaics", "enlargements", "adobe", "pictures", "icons"}
        "adobe" are crops that say that they are in Adobe RGB, "pictures" crops as PNG,
        "icons" crops reduced to 28x28, as gray PNG.
    n_files : int
        How many files to write.
    n_distinct : int, default=None
        How many of them differ; the others are hard links. By default all.
    seed : int, default=0
        What decides on where pieces are cut out.

    Returns
    -------
    paths : list of str
    """
    os.makedirs(folder)
    random = np.random.default_rng(seed)
    photos = [_continue(photo, kind) for photo in load_sample_images().images]
    n_distinct = min(n_distinct or n_files, n_files)
    ending = "png" if kind in {"pictures", "icons"} else "jpg"
    exif = _say_adobe_rgb() if kind == "adobe" else b""
    paths = [os.path.join(folder, f"{i:06d}.{ending}") for i in range(n_files)]
    for i, path in enumerate(paths):
        if i >= n_distinct:
            os.link(paths[i % n_distinct], path)
            continue
        image = _cut(photos[i % len(photos)], kind, random)
        image.save(path, quality=QUALITY, subsampling="4:2:0", exif=exif)
    return paths


def _continue(photo, kind):
    if kind != "mosaics":
        return photo
    return np.pad(photo, [(0, LARGE[0]), (0, LARGE[1]), (0, 0)], mode="symmetric")


def _cut(photo, kind, random):
    height, width = LARGE if kind == "mosaics" else CROP
    top = random.integers(photo.shape[0] - height + 1)
    left = random.integers(photo.shape[1] - width + 1)
    piece = photo[top : top + height, left : left + width]
    if random.integers(2):
        piece = piece[:, ::-1]
    image = Image.fromarray(np.ascontiguousarray(piece))
    if kind == "enlargements":
        return image.resize(LARGE[::-1], Image.Resampling.LANCZOS)
    if kind == "icons":
        return image.convert("L").resize(ICON[::-1], Image.Resampling.BILINEAR)
    return image


def _say_adobe_rgb():
    """Make an EXIF block as cameras name Adobe RGB in it (DCF 2.0, section 5.8)."""
    exif = Image.Exif()
    directory = exif.get_ifd(ExifTags.IFD.Exif)
    directory[ExifTags.Base.ColorSpace] = 0xFFFF  # not sRGB
    directory[ExifTags.IFD.Interop] = {ExifTags.Interop.InteropIndex: "R03"}
    return exif


def count_bytes(paths):
    """Return how many bytes a file has on average."""
    return sum(os.path.getsize(path) for path in paths) / len(paths)
