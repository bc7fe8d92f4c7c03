"""Kinds of image files by the ends of their names: those that are read, and what to do about the others."""

from functools import lru_cache

READ = {
    **dict.fromkeys((".png", ".apng"), "PNG"),
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "JPEG"),
    ".webp": "WEBP",
    ".gif": "GIF",
    **dict.fromkeys((".bmp", ".dib"), "BMP"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".avif", ".avifs"), "AVIF"),
    **dict.fromkeys((".jp2", ".j2k", ".jpf", ".jpx", ".jpc", ".j2c"), "JPEG2000"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "PPM"),
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIF"),
}
"""Pillow's format of each; AVIF and JPEG2000 where this Pillow was built with them, HEIF with pillow-heif."""
OPTIONAL = {
    "AVIF": "this Pillow reads no AVIF: `pip install --upgrade pillow`, or convert it (`avifdec x.avif x.png`)",
    "JPEG2000": "this Pillow reads no JPEG 2000: `pip install --upgrade pillow`, or convert it "
    "(`opj_decompress -i x.jp2 -o x.png`)",
    "HEIF": "HEIC needs pillow-heif: `pip install pillow-heif`, or convert it (`heif-convert x.heic x.png`)",
}
CONVERT = {
    ".jxl": "JPEG XL is not read: convert it (`djxl x.jxl x.png`)",
    **dict.fromkeys((".psd", ".psb", ".xcf", ".kra"), "layered drawings are not read: export them as PNG"),
    **dict.fromkeys((".svg", ".svgz"), "vector drawings are not read: convert them (`rsvg-convert x.svg -o x.png`)"),
    **dict.fromkeys((".eps", ".ps", ".ai", ".wmf", ".emf", ".pdf"), "vector drawings are not read: export them as PNG"),
    **dict.fromkeys(
        (".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw"),
        "raw files of cameras are not read: develop them to JPEG or PNG",
    ),
    **dict.fromkeys((".exr", ".hdr", ".pfm"), "floating-point pictures are not read: tone-map them to PNG"),
    **dict.fromkeys(
        (".tga", ".ico", ".icns", ".pcx", ".dds", ".sgi", ".ras", ".xbm", ".xpm", ".qoi", ".fits", ".cur"),
        "this kind is not read: convert it (`magick x.tga x.png`)",
    ),
}
"""Kinds of images that are not read, and how to convert them."""


def suffix(name: str) -> str:
    """The end of a file's name, in small letters: `.jpg`; empty where it has none."""
    stem, dot, end = name.rpartition(".")
    return f".{end.lower()}" if dot and stem else ""


def is_image(name: str) -> bool:
    """Whether the name is that of an image, read or not."""
    return suffix(name) in READ or suffix(name) in CONVERT


def refusal(name: str) -> str:
    """Why an image of that kind is not read; empty for one that is."""
    end = suffix(name)
    if end in CONVERT:
        return f"{end} is not read: {CONVERT[end].rpartition('not read: ')[2]}"
    form = READ.get(end, "")
    if form in OPTIONAL and form not in formats():
        return f"{end} is not read: {OPTIONAL[form]}"
    return ""


@lru_cache(maxsize=1)
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read here."""
    from PIL import features

    found = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"]
    found += ["AVIF"] if features.check("avif") else []
    found += ["JPEG2000"] if features.check("jpg_2000") else []
    return (*found, "HEIF") if _heif() else tuple(found)


def _heif() -> bool:
    """Whether pillow-heif is installed; it then reads HEIC through Pillow."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True
