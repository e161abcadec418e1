"""The corpus of image files, made once, and the refusals of read_image."""

import pytest
from sample_images import HEIGHT, WIDTH, make_corpus

from skimgclf.exceptions import ImageLoadError
from skimgclf.images import read_image

FULL_SIZE = (HEIGHT, WIDTH)


CORPUS = make_corpus()


READABLE = [sample for sample in CORPUS if sample.gray is not None]


def by_name(name):
    return next(sample for sample in CORPUS if sample.name == name)


def refuse(source, **options):
    """Read what must be refused, and return the error."""
    options = {"image_size": (8, 8), **options}
    with pytest.raises(ImageLoadError) as caught:
        read_image(source, **options)
    return caught.value
