#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes images/ and decoded/ beside it: made-up image files, and what PIL makes of them.

    apt-get install python3-pil python3-numpy libjpeg-turbo-progs
    /usr/bin/python3 make_references.py

The files in the repository came from PIL 9.4.0 over libjpeg-turbo 2.1.5 (Debian 12).
"""
import pathlib, random, struct, subprocess, zlib
import numpy
from PIL import Image

here = pathlib.Path(__file__).parent
images, decoded = here / "images", here / "decoded"
images.mkdir(exist_ok=True)
decoded.mkdir(exist_ok=True)


def scene(width, height):
    """Smooth colours, edges and some noise; image_transform_test.cc has the same formula."""
    y, x = numpy.mgrid[0:height, 0:width].astype(numpy.int64)
    planes = []
    for c in range(3):
        smooth = (x * (3 + c) + y * (5 - c)) // 2
        edges = ((x // 7 + y // (5 + c)) % 2) * 60
        noise = ((x * 7919 + y * 104729 + c * 1299709) * 2654435761 % 4294967296) >> 27
        planes.append((smooth + edges + noise) % 256)
    return Image.fromarray(numpy.stack(planes, axis=2).astype(numpy.uint8), "RGB")


def jpegs():
    rgb = scene(37, 29)
    for name, options in {
        "420": dict(subsampling=2), "422": dict(subsampling=1), "444": dict(subsampling=0),
        "low": dict(quality=20), "progressive": dict(progressive=True, subsampling=2),
    }.items():
        rgb.save(images / f"{name}.jpg", **{"quality": 90, **options})
    rgb.convert("L").save(images / "grey.jpg", quality=90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: not applied
    rgb.save(images / "turned.jpg", quality=90, exif=exif)
    cmyk = Image.fromarray(numpy.concatenate(
        [numpy.asarray(rgb), 255 - numpy.asarray(rgb.convert("L"))[:, :, None] // 2], axis=2), "CMYK")
    cmyk.save(images / "cmyk.jpg", quality=90)
    data = bytearray((images / "cmyk.jpg").read_bytes())
    data[data.index(b"Adobe") + 11] = 2  # the colour transform: now the same numbers are YCCK
    (images / "ycck.jpg").write_bytes(data)
    source = here / "scene.ppm"
    rgb.save(source)
    for name, flags in {
        "440": ["-sample", "1x2"], "411": ["-sample", "4x1"], "adobe_rgb": ["-rgb"],
        "arithmetic": ["-arithmetic"], "restarts": ["-restart", "1B"],
    }.items():
        subprocess.run(["cjpeg", "-quality", "90", *flags, "-outfile", images / f"{name}.jpg", source],
                       check=True)
    source.unlink()


def png(name, color, depth, width=19, height=13, interlace=False, palette=0, extra=()):
    """Random samples of any PNG kind; PIL itself writes only some."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    draw = random.Random(name)
    top = (palette or 1 << depth) - 1
    pixels = [[[draw.randint(0, top) if depth < 16 or draw.random() < 0.8 else draw.randint(0, 300)
                for _ in range(samples)] for _ in range(width)] for _ in range(height)]
    raw = b""
    passes = [(0, 0, 1, 1)]
    if interlace:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
                  (0, 1, 1, 2)]
    for x0, y0, dx, dy in passes:
        for row in pixels[y0::dy] if width > x0 else []:
            bits = "".join(f"{value:0{depth}b}" for pixel in row[x0::dx] for value in pixel)
            bits += "0" * (-len(bits) % 8)
            raw += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    file = b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlace)))
    if color == 3:
        file += chunk(b"PLTE", bytes(draw.randint(0, 255) for _ in range(3 * (palette or 1 << depth))))
    for kind, data in extra:
        file += chunk(kind, data)
    half = len(raw) // 2
    packed = zlib.compress(raw, 9)
    file += chunk(b"IDAT", packed[:half]) + chunk(b"IDAT", packed[half:]) + chunk(b"IEND", b"")
    (images / f"{name}.png").write_bytes(file)


def pngs():
    for depth in (1, 2, 4, 8, 16):
        png(f"grey{depth}", 0, depth)
    for depth in (1, 2, 4, 8):
        png(f"palette{depth}", 3, depth)
    for depth in (8, 16):
        png(f"rgb{depth}", 2, depth)
        png(f"grey_alpha{depth}", 4, depth)
        png(f"rgb_alpha{depth}", 6, depth)
    for color, depth in ((0, 1), (0, 16), (2, 8), (3, 4), (4, 8), (6, 16)):
        png(f"interlaced_{color}_{depth}", color, depth, interlace=True)
    png("interlaced_tiny", 2, 8, width=3, height=2, interlace=True)
    png("short_palette", 3, 4, palette=16, extra=[])
    data = (images / "short_palette.png").read_bytes()
    at = data.index(b"PLTE")  # keep five of the sixteen colours: the other indices point nowhere
    colours = data[at + 4:at + 4 + 15]
    (images / "short_palette.png").write_bytes(
        data[:at - 4] + struct.pack(">I", 15) + b"PLTE" + colours +
        struct.pack(">I", zlib.crc32(b"PLTE" + colours)) + data[at + 4 + 48 + 4:])
    png("transparent_palette", 3, 8, extra=[(b"tRNS", bytes(range(100)))])
    png("transparent_rgb", 2, 8, extra=[(b"tRNS", b"\0\1\0\2\0\3")])
    png("gamma", 2, 8, extra=[(b"gAMA", struct.pack(">I", 100000)), (b"tEXt", b"note\0forall")])


def transforms():
    """The evaluation transform by PIL, with torchvision's sizes (its functional/_compute_resized_
    output_size and center_crop): what image_transform_test.cc must give."""
    for width, height, resolution in ((500, 375, 48), (375, 500, 61), (64, 48, 96), (33, 400, 40),
                                      (56, 56, 49), (301, 299, 32), (1, 9, 8)):
        image = scene(width, height)
        shorter = -(-resolution * 8 // 7)
        if width <= height:
            size = shorter, int(shorter * height / width)
        else:
            size = int(shorter * width / height), shorter
        image = image.resize(size, Image.BILINEAR)
        left = int(round((size[0] - resolution) / 2.0))
        top = int(round((size[1] - resolution) / 2.0))
        image = image.crop((left, top, left + resolution, top + resolution))
        image.save(decoded / f"evaluation_{width}x{height}_{resolution}.ppm")
    for box, resolution in (((10, 20, 210, 170), 48), ((3, 0, 40, 29), 64), ((99, 7, 100, 60), 20)):
        image = scene(300, 200).crop(box).resize((resolution, resolution), Image.BILINEAR)
        image.save(decoded / "box_{}_{}_{}_{}_{}.ppm".format(*box, resolution))


jpegs()
pngs()
transforms()
for path in sorted(images.iterdir()):
    Image.open(path).convert("RGB").save(decoded / f"{path.name}.ppm")
