"""Images in five formats, to be loaded."""

import numpy as np
from PIL import Image
from sample_images import make_scene


def write_five_formats(folder):
    """Write the same scene in five formats, one of them with transparency."""
    scene = make_scene()
    rgba = np.dstack([scene, np.tile(np.arange(56, dtype=np.uint8) * 4, (40, 1))])
    Image.fromarray(scene).save(folder / "a.png")
    Image.fromarray(scene).save(folder / "b.jpg")
    Image.fromarray(rgba).save(folder / "c.webp", lossless=True)
    Image.fromarray(scene[:20, :15]).save(folder / "d.bmp")
    Image.fromarray(scene[:, :, 0].astype(np.uint16) * 257).save(folder / "e.tif")
    return folder
