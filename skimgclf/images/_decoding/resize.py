"""Resize an image."""

import numpy as np
from PIL import Image

# Keras' names (keras.utils.load_img) for Pillow's filters.
RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}

RESIZE_MODES = ("stretch", "crop", "pad")


def resize(image, margins, image_size, resize_mode, interpolation, background):
    """Resize an image to `image_size`.

    Parameters
    ----------
    image : PIL.Image.Image
        Of mode L, RGB, RGBA or F. Pillow resizes RGBA premultiplied, so that the
        colour of transparent pixels leaves no fringes.
    margins : tuple of four float
        As in `orient`.
    image_size : tuple of two int
        Height and width.
    resize_mode : {"stretch", "crop", "pad"}
    interpolation : str
        One of `RESAMPLING`.
    background : colour
        The colour of the padding, in the image's mode.

    Returns
    -------
    image : PIL.Image.Image
    """
    height, width = image_size
    resample = RESAMPLING[interpolation]
    left, top, right, bottom = margins
    box = (left, top, image.width - right, image.height - bottom)
    if resize_mode == "pad":
        return _pad(image, box, image_size, resample, background)
    if resize_mode == "crop":
        box = _crop_box(box, height / width)
    if image.size == (width, height) and box == (0, 0, width, height):
        return image
    return image.resize((width, height), resample, box=box)


def _crop_box(box, aspect):
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    cut_x = max(0, width - height / aspect) / 2
    cut_y = max(0, height - width * aspect) / 2
    return (left + cut_x, top + cut_y, right - cut_x, bottom - cut_y)


def _pad(image, box, image_size, resample, background):
    height, width = image_size
    left, top, right, bottom = _find_inner(box[2] - box[0], box[3] - box[1], image_size)
    inner = image.resize((right - left, bottom - top), resample, box=box)
    canvas = Image.new(image.mode, (width, height), background)
    canvas.paste(inner, (left, top))
    return canvas


def _find_inner(box_width, box_height, image_size):
    """Find left, top, right and bottom of the image within the padding."""
    height, width = image_size
    scale = min(width / box_width, height / box_height)
    inner_width = min(width, max(1, round(box_width * scale)))
    inner_height = min(height, max(1, round(box_height * scale)))
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    return left, top, left + inner_width, top + inner_height


def fill_padding(pixels, size, colour):
    """Give the padding of an image that was `size` (width, height) a colour."""
    left, top, right, bottom = _find_inner(*size, pixels.shape[:2])
    inner = pixels[top:bottom, left:right].copy()
    pixels[:] = colour
    pixels[top:bottom, left:right] = inner


def resize_floats(pixels, image_size, resize_mode, interpolation, background):
    """Resize pixels in [0, 1] to `image_size`, at floating point.

    Parameters
    ----------
    pixels : ndarray of shape (height, width, n_channels), float32
    image_size, resize_mode, interpolation
        As in `resize`.
    background : tuple of n_channels int
        The colour of the padding, in [0, 255].

    Returns
    -------
    pixels : ndarray of shape (height, width, n_channels), float32
        In [0, 1].
    """
    has_alpha = pixels.shape[2] == 4
    if has_alpha:
        # Premultiplied, as Pillow does with RGBA.
        pixels = np.concatenate(
            [pixels[:, :, :3] * pixels[:, :, 3:], pixels[:, :, 3:]], 2
        )
    channels = [
        np.asarray(
            resize(
                Image.fromarray(np.ascontiguousarray(pixels[:, :, channel])),
                (0, 0, 0, 0),
                image_size,
                resize_mode,
                interpolation,
                background[channel] / 255,
            )
        )
        for channel in range(pixels.shape[2])
    ]
    pixels = np.stack(channels, axis=2)
    if has_alpha:
        alpha = pixels[:, :, 3:]
        np.divide(pixels[:, :, :3], alpha, out=pixels[:, :, :3], where=alpha > 0)
    # Bicubic and Lanczos overshoot at edges.
    return np.clip(pixels, 0, 1)
