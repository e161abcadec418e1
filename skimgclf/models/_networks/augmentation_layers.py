"""Define layers that change images in training, where Keras has none or a slow one."""

from skimgclf.models._start import keras

# Largest shift of `ShiftReflected`, as a fraction of the height and of the width.
_MAX_SHIFT = 0.125

# How often `EraseRectangle` erases, and the sides of the rectangle as fractions.
_P_ERASED = 0.5
_MIN_SIDE, _MAX_SIDE = 0.125, 0.5


class _RandomChange(keras.layers.Layer):
    """Change images at random in training, and leave them as they are at predict."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.generator = keras.random.SeedGenerator()

    def call(self, images, training=False):
        """Change images (n_samples, height, width, n_channels) in training."""
        return self.change(images) if training else images


@keras.saving.register_keras_serializable("skimgclf")
class ShiftReflected(_RandomChange):
    """Shift images by whole pixels, and fill the border with reflected pixels.

    Nothing is interpolated, so that images stay sharp, and a shift costs a third of
    that of `keras.layers.RandomTranslation`. Images are reflected as there:
    ``d c b a | a b c d | d c b a``. A side of less than 8 pixels isn't shifted.
    """

    def change(self, images):
        """Shift images (n_samples, height, width, n_channels)."""
        ops = keras.ops
        _, height, width, n_channels = images.shape
        shape = ops.shape(images)
        rows = self._draw_positions(shape[0], height)[:, :, None]
        columns = self._draw_positions(shape[0], width)[:, None, :]
        first_rows = (ops.arange(shape[0], dtype="int32") * height)[:, None, None]
        pixels = ops.reshape(images, (-1, n_channels))
        shifted = ops.take(pixels, (first_rows + rows) * width + columns, axis=0)
        return ops.reshape(shifted, shape)

    def _draw_positions(self, n_samples, length):
        """Draw which row (or column) comes to each place of each image."""
        largest = int(_MAX_SHIFT * length)
        shifts = keras.random.randint(
            (n_samples, 1), -largest, largest + 1, seed=self.generator
        )
        places = keras.ops.arange(length, dtype="int32")  # not so wide as in float64
        positions = (places + shifts) % (2 * length)
        return keras.ops.minimum(positions, 2 * length - 1 - positions)


@keras.saving.register_keras_serializable("skimgclf")
class EraseRectangle(_RandomChange):
    """Fill a rectangle of every other image with one colour.

    `keras.layers.RandomErasing` draws a colour for each pixel of all images, which
    costs four times as much.
    """

    def change(self, images):
        """Erase in images (n_samples, height, width, n_channels)."""
        _, height, width, n_channels = images.shape
        drawn = keras.random.uniform(
            (keras.ops.shape(images)[0], 5 + n_channels),
            dtype=self.compute_dtype,
            seed=self.generator,
        )
        rows = _find_inside(height, drawn[:, 0:1], drawn[:, 1:2])
        columns = _find_inside(width, drawn[:, 2:3], drawn[:, 3:4])
        rows &= drawn[:, 4:5] < _P_ERASED
        is_inside = rows[:, :, None, None] & columns[:, None, :, None]
        return keras.ops.where(is_inside, drawn[:, None, None, 5:], images)


def _find_inside(length, size, start):
    """Tell which places of a side lie in the rectangle, by two draws from [0, 1)."""
    ops = keras.ops
    high = int(_MAX_SIDE * length)
    # A rectangle without a row or column would erase nothing.
    low = min(max(1, int(_MIN_SIDE * length)), high)
    size = low + ops.floor(size * (high - low + 1))
    start = ops.floor(start * (length - size + 1))
    places = ops.arange(length, dtype=start.dtype)
    return (places >= start) & (places < start + size)
