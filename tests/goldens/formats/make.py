"""Writes small pictures of many kinds, and NAME.rgb: what Pillow's convert("RGB") makes of each, EXIF applied."""
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

HERE = Path(__file__).parent
y, x = np.mgrid[0:11, 0:17]
rgb = np.stack([x * 15, y * 23, (x * y * 7) % 256], -1).astype(np.uint8)
picture = Image.fromarray(rgb)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(name, depth, colour, rows, extra=b""):
    width = 17
    raw = b"".join(b"\0" + row for row in rows)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0))
    body = header + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    (HERE / name).write_bytes(b"\x89PNG\r\n\x1a\n" + body)


for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(HERE / f"exif{orientation}.jpg", exif=exif, quality=90)
    picture.save(HERE / f"exif{orientation}.png", exif=exif)
deep = rgb.astype(">u2") * 257 + 3
png("gray16.png", 16, 0, [(x[0] * 40 + i).astype(">u2").tobytes() for i in range(11)])
png("rgb16.png", 16, 2, [row.tobytes() for row in deep])
png("rgba16.png", 16, 6, [np.concatenate([row, row[:, :1]], -1).astype(">u2").tobytes() for row in deep])
png("short_palette.png", 8, 3, [bytes(i % 4 for i in range(17))] * 3, chunk(b"PLTE", bytes(range(10, 16))))
palette = picture.quantize(16)
palette.save(HERE / "palette_transparent.png", transparency=3)
palette.save(HERE / "transparent.gif", transparency=3)
for name, options in (("small_frame.gif", {}), ("small_frame_transparent.gif", {"transparency": 3})):
    palette.save(HERE / name, **options)
    gif = bytearray((HERE / name).read_bytes())
    gif[6:10] = struct.pack("<HH", 23, 14)  # a screen larger than its picture, which stands at (4, 2)
    gif[11] = 5  # the background index, which Pillow ignores
    frame = gif.index(b"," + struct.pack("<4H", 0, 0, 17, 11))
    gif[frame + 1:frame + 5] = struct.pack("<HH", 4, 2)
    (HERE / name).write_bytes(gif)
picture.convert("1").save(HERE / "one_bit.png")
picture.convert("LA").save(HERE / "gray_alpha.png")
picture.save(HERE / "rgb.bmp")
palette.save(HERE / "palette.bmp")
picture.convert("CMYK").save(HERE / "cmyk.jpg", quality=90)
picture.convert("L").save(HERE / "gray.jpg", quality=90)
picture.save(HERE / "progressive.jpg", quality=90, progressive=True)
picture.save(HERE / "subsampled.jpg", quality=60, subsampling=2)
for file in sorted(HERE.iterdir()):
    if file.suffix in (".png", ".jpg", ".bmp", ".gif"):
        upright = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
        file.with_suffix(file.suffix + ".rgb").write_bytes(upright.tobytes())
