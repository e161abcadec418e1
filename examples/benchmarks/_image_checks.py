"""Ways to read images into an array, and checks of what they do.

A reader takes paths, a size (height, width) and a colour mode, and returns an array
(n_samples, height, width, n_channels) in [0, 1]. A check takes a reader and an empty
folder, and returns whether the claim holds, or that and what came instead.

Keras and embetter are imported where they are used, so that the processes that read
with Pillow or skimgclf are free of them.
"""

import contextlib
import importlib.util
import io
import multiprocessing
import os
import struct
import subprocess
import sys

import numpy as np
import tifffile
from PIL import Image, ImageFile, PngImagePlugin


def read_with_skimgclf(paths, size, color_mode):
    """Read with skimgclf's transformer."""
    from skimgclf import ImageLoader

    return ImageLoader(image_size=size, color_mode=color_mode).transform(paths)


def read_with_pillow(paths, size, color_mode):
    """Read with the three lines of Pillow that stand in most tutorials."""
    mode = {"grayscale": "L", "rgb": "RGB"}[color_mode]
    images = [Image.open(path).convert(mode).resize(size[::-1]) for path in paths]
    return stack_pixels(images)


def read_with_keras(paths, size, color_mode):
    """Read with Keras."""
    import keras

    options = {"color_mode": color_mode, "target_size": size}
    images = [keras.utils.load_img(path, **options) for path in paths]
    return stack_pixels(images)


def read_with_embetter(paths, size, color_mode):
    """Read with embetter, which doesn't resize: Pillow does."""
    from embetter.vision import ImageLoader

    mode = {"grayscale": "L", "rgb": "RGB"}[color_mode]
    images = ImageLoader(convert=mode).transform(paths)
    return stack_pixels([image.resize(size[::-1]) for image in images])


def stack_pixels(images):
    """Make one array of PIL images, divided by 255 as everybody does."""
    pixels = np.stack([np.asarray(image) for image in images]) / 255
    return pixels if pixels.ndim == 4 else pixels[..., np.newaxis]


READERS = {
    "skimgclf ImageLoader": read_with_skimgclf,
    "Pillow": read_with_pillow,
    "keras load_img": read_with_keras,
}
IMPORTS = {
    read_with_skimgclf: "from skimgclf import ImageLoader",
    read_with_pillow: "from PIL import Image",
    read_with_keras: "from keras.utils import load_img",
    read_with_embetter: "from embetter.vision import ImageLoader",
}
if importlib.util.find_spec("embetter") is not None:
    READERS["embetter ImageLoader"] = read_with_embetter


def check_turned_photo_is_upright(read, folder):
    """Check that a photo stored lying on its side is read upright."""
    upright = np.zeros((60, 40), dtype=np.uint8)
    upright[:20] = 255  # a bright sky
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned; to be shown turned by 90 degrees clockwise
    lying = Image.fromarray(np.rot90(upright).copy())
    lying.save(folder / "photo.jpg", exif=exif)
    pixels = read([folder / "photo.jpg"], (60, 40), "grayscale")[0, :, :, 0]
    return np.abs(pixels - upright / 255).mean() < 0.05


def check_deep_gray_keeps_brightness(read, folder):
    """Check that a ramp from black to white in 16 bits has the mean 0.5."""
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16)
    Image.fromarray(np.tile(ramp, (64, 1))).save(folder / "deep.png")
    mean = read([folder / "deep.png"], (32, 32), "grayscale").mean()
    return abs(mean - 0.5) < 0.01 or (False, f"mean {mean:.2f}, not 0.50")


def check_hidden_colours_stay_hidden(read, folder):
    """Check that the red that an editor left behind full transparency isn't seen."""
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(folder / "clear.png")
    pixels = read([folder / "clear.png"], (10, 10), "rgb")[0, 0, 0]
    return bool((pixels == 1).all()) or (False, f"{pixels.astype(int).tolist()}")


def check_fine_pattern_becomes_gray(read, folder):
    """Check that a chessboard of single pixels becomes gray when made smaller."""
    board = np.indices((256, 256)).sum(axis=0) % 2 * 255
    Image.fromarray(board.astype(np.uint8)).save(folder / "board.png")
    pixels = read([folder / "board.png"], (32, 32), "grayscale")
    is_gray = np.abs(pixels - 0.5).max() < 0.05
    return is_gray or (False, f"{pixels.min():.2f} to {pixels.max():.2f}, not 0.50")


def check_all_bad_files_are_named(read, folder):
    """Check that one error names every file that can't be read."""
    Image.new("L", (30, 30)).save(folder / "good.png")
    (folder / "page.jpg").write_text("<html>404 Not Found</html>")
    save_cut_jpeg(folder / "cut.jpg")
    names = ["cut.jpg", "page.jpg"]
    try:
        read([folder / name for name in ["good.png", *names]], (28, 28), "grayscale")
    except Exception as error:
        n_named = sum(name in str(error) for name in names)
        return n_named == 2 or (False, f"names {n_named} of 2")
    return False, "no error"


def check_cut_file_is_an_error(read, folder):
    """Check that a cut file is an error even after Pillow was told to fill it up."""
    save_cut_jpeg(folder / "cut.jpg")
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        read([folder / "cut.jpg"], (28, 28), "grayscale")
    except Exception:
        return True
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
    return False, "read in part"


def check_zeros_at_the_end_are_an_error(read, folder):
    """Check that a PNG whose second half is zeros, after a crash, is an error."""
    encoded = io.BytesIO()
    Image.effect_noise((100, 100), 50).save(encoded, "PNG")
    content = encoded.getvalue()
    half = len(content) // 2
    (folder / "zeros.png").write_bytes(content[:half] + bytes(len(content) - half))
    return is_refused(read, folder / "zeros.png")


def check_cut_and_ended_jpeg_is_an_error(read, folder):
    """Check that a JPEG that was cut and got an end marker isn't read as half gray."""
    save_cut_jpeg(folder / "cut.jpg")
    with open(folder / "cut.jpg", "ab") as file:
        file.write(b"\xff\xd9")
    return is_refused(read, folder / "cut.jpg")


def check_jpeg_with_zeros_is_an_error(read, folder):
    """Check that a JPEG isn't read that has zeros in its middle after a crash."""
    encoded = io.BytesIO()
    Image.effect_noise((100, 100), 50).save(encoded, "JPEG", quality=95)
    content, n_zeros = encoded.getvalue(), 1024
    half = len(content) // 2
    damaged = content[:half] + bytes(n_zeros) + content[half + n_zeros :]
    (folder / "zeros.jpg").write_bytes(damaged)
    return is_refused(read, folder / "zeros.jpg")


def is_refused(read, path):
    """Tell whether an image is an error."""
    try:
        read([path], (28, 28), "grayscale")
    except Exception:
        return True
    return False, "read in part"


def check_heic_is_read(read, folder):
    """Check that a HEIC photo of white is read as white."""
    try:
        import pillow_heif
    except ImportError as error:
        raise NotImplementedError from error
    photo = pillow_heif.from_pillow(Image.new("RGB", (40, 40), "white"))
    photo.save(folder / "IMG_0001.HEIC")
    return bool(read([folder / "IMG_0001.HEIC"], (8, 8), "rgb").min() > 0.98)


def check_other_colours_become_srgb(read, folder):
    """Check that a colour of Display P3 is converted, of which iPhones' photos are."""
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"cICP", bytes([12, 13, 0, 1]))  # ITU-T H.273: the numbers of Display P3
    image = Image.new("RGB", (20, 20), (180, 120, 90))
    image.save(folder / "p3.png", pnginfo=chunks)
    red = read([folder / "p3.png"], (4, 4), "rgb")[0, 0, 0, 0]
    return abs(red - 0.745) < 0.01 or (False, f"red {red:.2f}, not 0.75")


def check_deep_planes_are_read(read, folder):
    """Check that 16-bit colours in separate planes, uncompressed, aren't noise."""
    planes = np.stack([np.full((40, 60), 20_000 * n, np.uint16) for n in (1, 2, 3)])
    tifffile.imwrite(folder / "planes.tif", planes, photometric="rgb")
    pixels = read([folder / "planes.tif"], (8, 12), "rgb")[0]
    expected = np.array([20_000, 40_000, 60_000]) / 65535
    return bool(np.abs(pixels - expected).max() < 0.01)


def check_deep_colours_keep_small_values(read, folder):
    """Check that a colour of 255 of 65535 in each channel isn't black."""
    levels = np.full((3, 40, 60), 255, np.uint16).transpose(1, 2, 0)
    options = {"photometric": "rgb", "planarconfig": "contig"}
    tifffile.imwrite(folder / "dark.tif", levels, **options)
    value = read([folder / "dark.tif"], (4, 4), "rgb").mean()
    return abs(value - 255 / 65535) < 1e-4 or (False, f"{value:.4f}, not 0.0039")


def check_rest_of_canvas_is_clear(read, folder):
    """Check that what a GIF's first frame leaves of its canvas isn't a colour."""
    frame = Image.new("P", (10, 10), 1)
    frame.putpalette([255, 0, 0, 0, 0, 255])
    encoded = io.BytesIO()
    frame.save(encoded, "GIF")
    content = bytearray(encoded.getvalue())
    content[6:10] = struct.pack("<HH", 20, 10)  # the canvas
    (folder / "part.gif").write_bytes(content)
    pixel = read([folder / "part.gif"], (10, 20), "rgb")[0, 5, 15]
    return bool((pixel == 1).all()) or (False, f"{pixel.astype(int).tolist()}")


def check_pipe_does_not_hang(read, folder):
    """Check that a named pipe among the files is an error at once."""
    os.mkfifo(folder / "pipe.png")
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=read_pipe, args=(read, folder, sender))
    process.start()
    try:
        receiver.recv()  # everything is imported
        return receiver.poll(5) or (False, "hangs")
    finally:
        process.kill()
        process.join()


def read_pipe(read, folder, sender):
    """Tell when a good file was read, and when a named pipe was refused."""
    Image.new("L", (30, 30)).save(folder / "good.png")
    read([folder / "good.png"], (28, 28), "grayscale")
    sender.send("ready")
    with contextlib.suppress(Exception):
        read([folder / "pipe.png"], (28, 28), "grayscale")
    sender.send("done")


def check_import_is_light(read, folder):
    """Check that importing what reads images doesn't import TensorFlow."""
    code = f"import sys; {IMPORTS[read]}; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE)
    return done.stdout.strip() == b"False"


CHECKS = {
    "a photo that its EXIF block turns is upright": check_turned_photo_is_upright,
    "16-bit gray keeps its brightness": check_deep_gray_keeps_brightness,
    "colours under transparency stay hidden": check_hidden_colours_stay_hidden,
    "resizing is antialiased unless told otherwise": check_fine_pattern_becomes_gray,
    "one error names all bad files": check_all_bad_files_are_named,
    "a cut file is an error, whatever Pillow's settings": check_cut_file_is_an_error,
    "a PNG whose second half is zeros is an error": check_zeros_at_the_end_are_an_error,
    "a cut JPEG with an end marker is an error": check_cut_and_ended_jpeg_is_an_error,
    "a JPEG with zeros in its middle is an error": check_jpeg_with_zeros_is_an_error,
    "HEIC, the photos of iPhones, is read": check_heic_is_read,
    "colours of Display P3 become sRGB": check_other_colours_become_srgb,
    "16-bit colours in planes (TIFF) aren't noise": check_deep_planes_are_read,
    "16-bit colours keep small values": check_deep_colours_keep_small_values,
    "the rest of a GIF's canvas is clear": check_rest_of_canvas_is_clear,
    "a named pipe is an error and doesn't hang": check_pipe_does_not_hang,
    "importing it doesn't import TensorFlow": check_import_is_light,
}


def save_cut_jpeg(path):
    """Save a JPEG file that lacks its second half."""
    encoded = io.BytesIO()
    Image.effect_noise((100, 100), 50).save(encoded, "JPEG")
    path.write_bytes(encoded.getvalue()[: len(encoded.getvalue()) // 2])
