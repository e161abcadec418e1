"""Image files whose pixels are known without any reader: the tests' corpus.

Every file is written by Pillow's encoders or, where these can't, byte by byte here; the
gray values a right reader must find are computed with NumPy from the scene itself.
"""

import io
import struct
import zlib
from collections import namedtuple

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 40, 56

# A file of the corpus: `gray` is what a right reader sees (upright, in [0, 1], on
# white), None when the file must be refused with `reason` in the error's text.
Sample = namedtuple("Sample", ["name", "content", "gray", "tolerance", "reason"])


def box(name, *parts):
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), name) + content


def make_scene():
    """Paint four quadrants of different colours with gradients, uint8."""
    rows, columns = np.indices((HEIGHT, WIDTH))
    scene = np.zeros((HEIGHT, WIDTH, 3))
    colours = [(200, 60, 40), (30, 160, 80), (50, 70, 220), (240, 220, 120)]
    for quadrant, colour in enumerate(colours):
        y, x = divmod(quadrant, 2)
        inside = (rows // (HEIGHT // 2) == y) & (columns // (WIDTH // 2) == x)
        scene[inside] = colour
    scene += np.sin(rows / 9)[:, :, np.newaxis] * 10 - columns[:, :, np.newaxis] / 8
    return np.clip(np.rint(scene), 0, 255).astype(np.uint8)


def make_alpha():
    """Paint an alpha channel with clear, half clear and opaque quadrants, uint8."""
    alpha = np.full((HEIGHT, WIDTH), 255, dtype=np.uint8)
    alpha[: HEIGHT // 2, : WIDTH // 2] = 0
    alpha[HEIGHT // 2 :, WIDTH // 2 :] = 128
    return alpha


def luma(rgb):
    """Weigh red, green and blue (ITU-R 601-2), in [0, 1]."""
    return np.asarray(rgb, dtype=float) @ [0.299, 0.587, 0.114] / 255


def on_white(gray, alpha):
    """Put gray in [0, 1] on white by an alpha of uint8."""
    return gray * (alpha / 255) + 1 - alpha / 255


def encode(image, image_format, **options):
    """Encode a PIL image or an array."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def make_png(rows, bits, colour_type, *, width, extra=()):
    """Write a PNG file of given packed rows (bytes each) and extra chunks."""

    def chunk(kind, body):
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [(b"IHDR", header), *extra, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*parts) for parts in chunks)


def make_tiff(
    data,
    *,
    bits,
    photometric,
    order="<",
    size=(WIDTH, HEIGHT),
    n_strips=1,
    tags=(),
):
    """Write a TIFF file, uncompressed if `tags` doesn't name a compression.

    `data` is cut into strips of one length, or holds a list of them. `tags` holds
    further (tag, type, values) with type 3 (16 bits), 4 (32 bits), 5 (pairs of these)
    or 7 (bytes). Without `photometric`, its tag is left out.
    """
    if isinstance(data, list):
        sizes, data = [len(strip) for strip in data], b"".join(data)
    else:
        sizes = [len(data) // n_strips] * n_strips
    entries = {
        256: (3, [size[0]]),
        257: (3, [size[1]]),
        258: (3, bits),
        259: (3, [1]),
        262: (3, [photometric]),
        273: (4, [0] * len(sizes)),
        277: (3, [len(bits)]),
        278: (3, [size[1]]),
        279: (4, sizes),
    } | {tag: (kind, values) for tag, kind, values in tags}
    if photometric is None:
        del entries[262]

    def pack(kind, values):
        code, n_numbers = {3: "H", 4: "I", 5: "I", 7: "B"}[kind], np.size(values)
        return struct.pack(f"{order}{n_numbers}{code}", *np.ravel(values).tolist())

    after_directory = 8 + 2 + 12 * len(entries) + 4
    packed = {tag: pack(*entry) for tag, entry in entries.items()}
    n_longer = sum(len(values) for values in packed.values() if len(values) > 4)
    strips = after_directory + n_longer + np.cumsum([0, *sizes[:-1]])
    packed[273] = pack(4, strips.tolist())
    directory, longer = struct.pack(order + "H", len(entries)), b""
    for tag in sorted(entries):
        kind, values = entries[tag]
        directory += struct.pack(order + "HHI", tag, kind, len(values))
        if len(packed[tag]) > 4:
            directory += struct.pack(order + "I", after_directory + len(longer))
            longer += packed[tag]
        else:
            directory += packed[tag].ljust(4, b"\0")
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    return start + directory + b"\0\0\0\0" + longer + data


def make_icon(picture, *, width, height, bits=32):
    """Write an icon file around a PNG file or a bitmap."""
    entry = struct.pack(
        "<BBBBHHII", width % 256, height % 256, 0, 0, 1, bits, len(picture), 22
    )
    return struct.pack("<HHH", 0, 1, 1) + entry + picture


def make_lossless_jpeg(width, height):
    """Write a lossless (SOF3) gray JPEG file, all of value 128."""

    def segment(marker, body):
        return bytes([255, marker]) + struct.pack(">H", len(body) + 2) + body

    return b"".join(
        [
            b"\xff\xd8",
            segment(
                0xC3, bytes([8]) + struct.pack(">HH", height, width) + b"\1\1\x11\0"
            ),
            segment(0xC4, bytes([0, 1, *[0] * 15, 0])),  # one code, "no difference"
            segment(0xDA, b"\1\1\0\1\0\0"),  # predictor 1: the pixel to the left
            bytes(width * height // 8 + 2),
            b"\xff\xd9",
        ]
    )


def pack_12_bits(values):
    """Pack rows of 12-bit values, high bits first."""
    left, right = values[:, 0::2].astype(int), values[:, 1::2].astype(int)
    packed = np.stack([left >> 4, (left & 15) << 4 | right >> 8, right & 255], axis=2)
    return packed.astype(np.uint8).tobytes()


def store(upright, orientation):
    """Turn an upright array to what a camera stores under an EXIF orientation."""
    return np.ascontiguousarray(
        {
            1: lambda a: a,
            2: lambda a: a[:, ::-1],
            3: lambda a: a[::-1, ::-1],
            4: lambda a: a[::-1],
            5: lambda a: a.swapaxes(0, 1),
            6: lambda a: np.rot90(a, 1),
            7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
            8: lambda a: np.rot90(a, -1),
        }[orientation](upright)
    )


def make_exif(orientation):
    """Make an EXIF block with an orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def make_corpus():
    """Make all samples."""
    samples = []

    def add(name, content, gray=None, tolerance=0.003, reason=None):
        samples.append(Sample(name, content, gray, tolerance, reason))

    _add_plain(add)
    _add_transparent(add)
    _add_deep(add)
    _add_other_colours(add)
    _add_orientations(add)
    _add_animations(add)
    _add_meaningless(add)
    _add_damaged(add)
    return samples


def _add_plain(add):
    scene = make_scene()
    gray = luma(scene)
    levels = np.rint(gray * 255).astype(np.uint8)
    bits = levels > 128
    palette = Image.fromarray(levels).convert("P")
    images = {"L": Image.fromarray(levels), "RGB": Image.fromarray(scene), "P": palette}
    for image_format in ["PNG", "GIF", "BMP", "TIFF"]:
        for mode, image in images.items():
            # GIF has 256 colours: Pillow picks them for RGB.
            loss = 0.03 if (image_format, mode) == ("GIF", "RGB") else 0.003
            name = f"{mode}.{image_format.lower()}"
            add(name, encode(image, image_format), gray, loss)
        name = f"1.{image_format.lower()}"
        add(name, encode(Image.fromarray(bits), image_format), bits.astype(float))
    for compression in ["tiff_lzw", "tiff_adobe_deflate", "packbits"]:
        content = encode(scene, "TIFF", compression=compression)
        add(f"RGB-{compression}.tif", content, gray)
    content = encode(Image.fromarray(bits), "TIFF", compression="group4")
    add("1-group4.tif", content, bits.astype(float))
    planes = np.moveaxis(scene, 2, 0).tobytes()
    options = {"n_strips": 3, "tags": [(284, 3, [2])]}
    content = make_tiff(planes, bits=[8] * 3, photometric=2, **options)
    add("RGB-planes.tif", content, gray)
    add("RGB-jpeg.tif", encode(scene, "TIFF", compression="jpeg"), gray, 0.02)
    for quality, subsampling in [(95, 0), (90, 2), (75, 2)]:
        options = {"quality": quality, "subsampling": subsampling}
        add(f"RGB-{quality}.jpg", encode(scene, "JPEG", **options), gray, 0.02)
    add("L.jpg", encode(levels, "JPEG", quality=95), gray, 0.02)
    add("progressive.jpg", encode(scene, "JPEG", progressive=True), gray, 0.02)
    add("lossless.jpg", make_lossless_jpeg(56, 40), np.full((40, 56), 128 / 255))
    add("lossless.webp", encode(scene, "WEBP", lossless=True), gray)
    add("lossy.webp", encode(scene, "WEBP", quality=90), gray, 0.03)
    add("RGB.avif", encode(scene, "AVIF", quality=95), gray, 0.03)
    add("L.avif", encode(levels, "AVIF", quality=95), gray, 0.03)
    add("RGB.jp2", encode(scene, "JPEG2000"), gray)
    add("L.jp2", encode(levels, "JPEG2000"), gray)
    add("RGB.ppm", encode(scene, "PPM"), gray)
    add("L.pgm", encode(levels, "PPM"), gray)
    add("1.pbm", encode(Image.fromarray(bits), "PPM"), bits.astype(float))
    numbers = " ".join(map(str, scene.ravel()))
    add("plain.ppm", f"P3 {WIDTH} {HEIGHT} 255 {numbers}".encode(), gray)
    hundred = np.rint(gray * 100).astype(np.uint8)
    content = b"P5 56 40 100\n" + hundred.tobytes()
    add("of-100.pgm", content, hundred / 100)
    add("png-called.jpg", encode(scene, "PNG"), gray)
    add("opaque.ico", encode(scene, "ICO", sizes=[(WIDTH, HEIGHT)]), gray)


def _add_transparent(add):
    scene, alpha = make_scene(), make_alpha()
    gray = luma(scene)
    levels = np.rint(gray * 255).astype(np.uint8)
    seen = on_white(gray, alpha)
    rgba = np.dstack([scene, alpha])
    for image_format in ["PNG", "TIFF", "WEBP", "ICO", "JPEG2000"]:
        options = {"WEBP": {"lossless": True}, "ICO": {"sizes": [(WIDTH, HEIGHT)]}}
        content = encode(rgba, image_format, **options.get(image_format, {}))
        add(f"RGBA.{image_format.lower()}", content, seen)
    add("RGBA.avif", encode(rgba, "AVIF", quality=95), seen, 0.03)
    # A BMP file without bit fields has no alpha: its fourth byte means nothing.
    add("RGBA.bmp", encode(rgba, "BMP"), gray)
    bitmap = {"sizes": [(WIDTH, HEIGHT)], "bitmap_format": "bmp"}
    add("RGBA-bitmap.ico", encode(rgba, "ICO", **bitmap), seen)
    for image_format in ["PNG", "TIFF"]:
        image = Image.fromarray(np.dstack([levels, alpha]), "LA")
        add(f"LA.{image_format.lower()}", encode(image, image_format), seen)
    ramp = b"".join(bytes([level] * 3) for level in range(256))
    # One alpha per palette entry, made from levels: entries below 90 are clear.
    entry_alpha = np.where(
        np.arange(256) < 90, 0, np.where(np.arange(256) < 150, 128, 255)
    )
    by_entry = on_white(levels / 255, entry_alpha[levels])
    trns = (b"tRNS", entry_alpha.astype(np.uint8).tobytes())
    rows = [row.tobytes() for row in levels]
    palette_png = make_png(rows, 8, 3, width=WIDTH, extra=[(b"PLTE", ramp), trns])
    add("P-entries.png", palette_png, by_entry)
    add("P-entries.ico", make_icon(palette_png, width=WIDTH, height=HEIGHT), by_entry)
    clear = levels == levels[5, 5]
    clear_gray = np.where(clear, 1, levels / 255)
    image = Image.frombytes("P", (WIDTH, HEIGHT), levels.tobytes())
    image.putpalette(ramp)
    for image_format in ["PNG", "GIF"]:
        content = encode(image, image_format, transparency=int(levels[5, 5]))
        add(f"P-key.{image_format.lower()}", content, clear_gray)
    content = encode(levels, "PNG", transparency=int(levels[5, 5]))
    add("L-key.png", content, clear_gray)
    key = tuple(map(int, scene[30, 50]))
    matches = (scene == key).all(axis=2)
    add(
        "RGB-key.png",
        encode(scene, "PNG", transparency=key),
        np.where(matches, 1, gray),
    )
    for bits in [2, 4]:
        top = 2**bits - 1
        values = np.rint(gray * top).astype(np.uint8)
        binary = np.unpackbits(values[:, :, np.newaxis], axis=2)[:, :, -bits:]
        rows = [np.packbits(row).tobytes() for row in binary.reshape(HEIGHT, -1)]
        add(f"L{bits}.png", make_png(rows, bits, 0, width=WIDTH), values / top)
        value = int(values[5, 5])
        extra = [(b"tRNS", struct.pack(">H", value))]
        content = make_png(rows, bits, 0, width=WIDTH, extra=extra)
        add(f"L{bits}-key.png", content, np.where(values == value, 1, values / top))
    bits = levels > 128
    rows = [np.packbits(row).tobytes() for row in bits]
    for value in [0, 1]:
        extra = [(b"tRNS", struct.pack(">H", value))]
        content = make_png(rows, 1, 0, width=WIDTH, extra=extra)
        add(
            f"1-key{value}.png", content, np.where(bits == value, 1, bits).astype(float)
        )
    add("La.tif", *_premultiplied([levels], 1, alpha))
    add("RGBa.tif", *_premultiplied(np.moveaxis(scene, 2, 0), 2, alpha))
    unspecified = make_tiff(
        np.dstack([levels, alpha]).tobytes(),
        bits=[8, 8],
        photometric=1,
        tags=[(338, 3, [0])],
    )
    add("L-extra.tif", unspecified, gray)


def _premultiplied(channels, photometric, alpha):
    darker = [np.rint(channel * (alpha / 255)).astype(np.uint8) for channel in channels]
    content = make_tiff(
        np.dstack([*darker, alpha]).tobytes(),
        bits=[8] * (len(darker) + 1),
        photometric=photometric,
        tags=[(338, 3, [1])],
    )
    gray = luma(np.dstack(darker)) if len(darker) == 3 else darker[0] / 255
    return content, gray + 1 - alpha / 255, 0.006


def _add_deep(add):
    scene = make_scene()
    gray = luma(scene) * 0.9 + 0.05
    deep = np.rint(gray * 65535).astype(np.uint16)
    big = deep.astype(">u2")
    rows = [row.tobytes() for row in big]
    add("I16.png", encode(deep, "PNG"), gray)
    add("I16.tif", encode(deep, "TIFF"), gray)
    add("I16.jp2", encode(deep, "JPEG2000"), gray)
    add("I16-lzw.tif", encode(deep, "TIFF", compression="tiff_lzw"), gray)
    value = int(deep[5, 5])
    extra = [(b"tRNS", struct.pack(">H", value))]
    content = make_png(rows, 16, 0, width=WIDTH, extra=extra)
    add("I16-key.png", content, np.where(deep == value, 1, gray))
    for order, data in [("<", deep.astype("<u2")), (">", big)]:
        name = {"<": "little", ">": "big"}[order]
        options = {"bits": [16], "photometric": 1, "order": order}
        add(f"I16-{name}.tif", make_tiff(data.tobytes(), **options), gray)
    inverted = (65535 - deep).astype("<u2").tobytes()
    add("I16-white-is-0.tif", make_tiff(inverted, bits=[16], photometric=0), gray)
    options = {"compression": "tiff_lzw", "tiffinfo": {262: 0}}
    content = encode(65535 - deep, "TIFF", **options)
    add("I16-white-is-0-lzw.tif", content, gray)
    levels = np.rint(gray * 255).astype(np.uint8)
    inverted = (255 - levels).tobytes()
    add("L-white-is-0.tif", make_tiff(inverted, bits=[8], photometric=0), gray)
    twelve = np.rint(gray * 4095).astype(np.uint16)
    packed = pack_12_bits(twelve)
    add("I12.tif", make_tiff(packed, bits=[12], photometric=1), gray)
    deflated = {"bits": [12], "photometric": 1, "tags": [(259, 3, [8])]}
    add("I12-deflate.tif", make_tiff(zlib.compress(packed), **deflated), gray)
    add("I16.pgm", b"P5 56 40 65535\n" + big.tobytes(), gray)
    thousand = np.rint(gray * 1000).astype(">u2")
    add("of-1000.pgm", b"P5 56 40 1000\n" + thousand.tobytes(), gray)
    plain = " ".join(map(str, thousand.ravel()))
    add("plain-of-1000.pgm", f"P2 56 40 1000\n{plain}".encode(), gray)
    ten_bits = np.rint(scene / 255 * 1023).astype(">u2")
    add("of-1023.ppm", b"P6 56 40 1023\n" + ten_bits.tobytes(), luma(scene))
    deep_rgb = scene.astype(">u2") * 257
    rows = [row.tobytes() for row in deep_rgb]
    add("RGB16.png", make_png(rows, 16, 2, width=WIDTH), luma(scene))
    key = deep_rgb[30, 50]
    content = make_png(rows, 16, 2, width=WIDTH, extra=[(b"tRNS", key.tobytes())])
    matches = (deep_rgb == key).all(axis=2)
    add("RGB16-key.png", content, np.where(matches, 1, luma(scene)))
    absent = np.array([1, 2, 3], dtype=">u2").tobytes()
    content = make_png(rows, 16, 2, width=WIDTH, extra=[(b"tRNS", absent)])
    add("RGB16-no-key.png", content, luma(scene))
    alpha = make_alpha()
    deep_alpha = alpha.astype(">u2") * 257
    rows = [row.tobytes() for row in np.dstack([deep_rgb, deep_alpha]).astype(">u2")]
    seen = on_white(luma(scene), alpha)
    add("RGBA16.png", make_png(rows, 16, 6, width=WIDTH), seen)
    rows = [row.tobytes() for row in np.dstack([big, deep_alpha]).astype(">u2")]
    add("LA16.png", make_png(rows, 16, 4, width=WIDTH), on_white(gray, alpha), 0.006)
    content = make_tiff(deep_rgb.tobytes(), bits=[16] * 3, photometric=2, order=">")
    add("RGB16.tif", content, luma(scene))


def _add_other_colours(add):
    scene = make_scene()
    gray = luma(scene)
    image = Image.fromarray(scene)
    # Without black generation CMYK is the complement of RGB.
    add("CMYK.tif", encode(image.convert("CMYK"), "TIFF"), gray)
    add("CMYK.jpg", encode(image.convert("CMYK"), "JPEG", quality=95), gray, 0.02)
    add("YCbCr.tif", encode(image.convert("YCbCr"), "TIFF"), gray, 0.01)
    # The neutral axis of CIE Lab: L* 0 is black, 100 white; 50 is 18.4 % of the light,
    # which sRGB encodes as 119.
    lightness = np.full((HEIGHT, WIDTH), 128, dtype=np.uint8)
    lightness[:, : WIDTH // 2] = 255
    neutral = np.zeros_like(lightness)
    data = np.dstack([lightness, neutral, neutral]).tobytes()
    expected = np.where(lightness == 255, 1, 119 / 255)
    add("LAB.tif", make_tiff(data, bits=[8] * 3, photometric=8), expected, 0.01)


def _add_orientations(add):
    scene = make_scene()
    gray = luma(scene)
    kinds = {
        "jpg": ("JPEG", {"quality": 95}, 0.02),
        "png": ("PNG", {}, 0.003),
        "webp": ("WEBP", {"lossless": True}, 0.003),
        "avif": ("AVIF", {"quality": 95}, 0.03),
        "tif": ("TIFF", {}, 0.003),
        "lzw.tif": ("TIFF", {"compression": "tiff_lzw"}, 0.003),
    }
    for extension, (image_format, options, tolerance) in kinds.items():
        for orientation in range(1, 9):
            stored = store(scene, orientation)
            content = encode(
                stored, image_format, exif=make_exif(orientation), **options
            )
            add(f"turned{orientation}.{extension}", content, gray, tolerance)
    deep = np.rint(gray * 65535).astype(np.uint16)
    content = encode(store(deep, 6), "PNG", exif=make_exif(6))
    add("turned6-I16.png", content, gray)
    content = encode(store(deep, 6), "TIFF", exif=make_exif(6))
    add("turned6-I16.tif", content, gray)
    broken = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(range(40))
    for extension, (image_format, options, tolerance) in list(kinds.items())[:3]:
        content = encode(scene, image_format, exif=broken, **options)
        add(f"broken-exif.{extension}", content, gray, tolerance)
    content = encode(scene, "PNG", exif=make_exif(9))
    add("impossible-orientation.png", content, gray)


def _add_animations(add):
    scene = make_scene()
    gray = luma(scene)
    first, others = Image.fromarray(scene), [Image.new("RGB", (WIDTH, HEIGHT), "red")]
    kinds = {
        "gif": ("GIF", {}, 0.03),
        "png": ("PNG", {}, 0.003),
        "webp": ("WEBP", {"lossless": True}, 0.003),
        "avif": ("AVIF", {"quality": 95}, 0.03),
        "tif": ("TIFF", {}, 0.003),
        "mpo.jpg": ("MPO", {"quality": 95}, 0.02),
    }
    for extension, (image_format, options, tolerance) in kinds.items():
        options = {"save_all": True, "append_images": others, **options}
        content = encode(first, image_format, **options)
        add(f"frames.{extension}", content, gray, tolerance)


def _add_meaningless(add):
    levels = np.rint(luma(make_scene()) * 255)
    signed = (levels * 100 - 9000).astype("<i2").tobytes()
    sign = [(339, 3, [2])]
    content = make_tiff(signed, bits=[16], photometric=1, tags=sign)
    add("signed16.tif", content, reason="mode I")
    content = make_tiff(
        levels.astype(np.uint8).tobytes(), bits=[8], photometric=1, tags=sign
    )
    add("signed8.tif", content, reason="signed integers")
    add("I.tif", encode(levels.astype(np.int32), "TIFF"), reason="mode I")
    add("F.tif", encode(levels.astype(np.float32), "TIFF"), reason="mode F")
    add("F.pfm", encode(levels.astype(np.float32), "PPM"), reason="mode F")


def _add_damaged(add):
    scene = make_scene()
    png, jpeg = encode(scene, "PNG"), encode(scene, "JPEG")
    add("half.png", png[: len(png) // 2], reason="cut short")
    add("half.jpg", jpeg[: len(jpeg) // 2], reason="cut short")
    add("header-only.jpg", jpeg[:20], reason="starts like a JPEG")
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 1
    add("flipped-bit.png", bytes(flipped), reason="damaged")
    add("empty.png", b"", reason="empty")
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
    add("pointer.jpg", pointer, reason="git-lfs")
    for name, start in [("page", b"\n<!DOCTYPE html><html>"), ("old", b"<HTML><body>")]:
        add(f"{name}.jpg", start + b"404 Not Found</html>", reason="HTML page")
    add("._x.jpg", b"\0\5\x16\7\0\2\0\0Mac OS X        ", reason="AppleDouble")
    add("notes.png", b"these are notes, not an image", reason="isn't an image")
    add("vector.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", reason="SVG")
    add("document.jpg", b"%PDF-1.7\n", reason="PDF")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"
    add("cat.jpg", eps, reason="PostScript")
    add("photo.heic.jpg", b"\0\0\0\x18ftypheic\0\0\0\0", reason="HEIC")
    for name, start, word in [
        ("raw.j2k", encode(scene, "JPEG2000", no_jp2=True), "raw JPEG 2000"),
        ("photo.jxl", b"\xff\x0a\xfa\x1f", "JPEG XL"),
        ("box.jxl", b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        ("scan.dcm", bytes(128) + b"DICM" + bytes(20), "pydicom"),
        ("light.exr", b"\x76\x2f\x31\x01\2\0\0\0", "OpenEXR"),
        ("film.mp4", b"\0\0\0\x18ftypisom\0\0\0\0isommp41", "video"),
        ("photo.cr3", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "raw file"),
        ("cut.avif", b"\0\0\0\x18ftypavif\0\0\0\0avifmif1", "AVIF"),
    ]:
        add(name, start, reason=word)
    add("other-format.png", encode(scene, "TGA"), reason="isn't an image")
    # The tag that says "signed" claims a million values: Pillow skips it.
    sign = struct.pack("<HHI", 339, 3, 1)
    levels = scene[:, :, 0].tobytes()
    tags = [(339, 3, [2])]
    content = make_tiff(levels, bits=[8], photometric=1, tags=tags)
    content = content.replace(sign, struct.pack("<HHI", 339, 3, 10**6))
    add("damaged-directory.tif", content, reason="directory")
    content = make_tiff(levels, bits=[8], photometric=1)
    height = struct.pack("<HHIHH", 257, 3, 1, HEIGHT, 0)
    content = content.replace(height, struct.pack("<HHIHH", 257, 3, 1, 9 * HEIGHT, 0))
    add("strips-missing.tif", content, reason="part of the image")
