"""Which files are images or may contain some, by name and by first bytes.

A silently skipped picture may have been the one that mattered. So whatever looks like an image
counts as one, and what cannot be read becomes an error of its own.
"""

from __future__ import annotations

import zipfile
from pathlib import Path


def _endings(text: str) -> frozenset[str]:
    return frozenset(text.split())


READ = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
"""Extensions that every installation reads."""

_PICTURES = _endings(
    ".jpe .jfif .jif .dib .tf2 .tf8 .btf .heic .heif .heics .heifs .hif .avif .avifs .webp .jxl "
    ".jp2 .j2k .j2c .jpc .jpf .jpx .jpm .jxr .wdp .hdp .gif .apng .psd .psb .xcf .kra .exr .hdr "
    ".tga .ppm .pgm .pnm .pam .pcx .fits .fit .fts .nii .mrc .nrrd "
    ".dng .raw .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .orf .rw2 .raf .pef .srw .x3f .3fr .iiq "
    ".erf .mef .mos .kdc .dcr .rwl"
)
_MICROSCOPES = _endings(
    ".svs .ndpi .ndpis .mrxs .scn .bif .vms .vmu .qptiff .svslide .vsi .ets .isyntax .i2syntax "
    ".tmap .mds .kfb .sdpc .szi .omap .nd2 .czi .lif .lof .xlef .lsm .zvi .oib .oif .oir .stk "
    ".ims .dv .r3d .flex .ipw .dcm .dicom .afi .jtif"
)
_FOLDERS = frozenset({".zarr", ".n5"})
"""Images that are folders."""

_FILMS = _endings(
    ".mp4 .m4v .mov .qt .avi .mkv .webm .ts .m2ts .mts .mpg .mpeg .m2v .wmv .asf .flv .ogv .3gp "
    ".3g2 .mxf .vob .mjpeg .mjpg"
)
_DOCUMENTS = frozenset({".pdf", ".djvu", ".xps"})
_ARCHIVES = _endings(".zip .tar .tgz .tbz .tbz2 .txz .7z .rar .gz .bz2 .xz .zst .lz4 .iso")
_LOOKED_INTO = ".zip"
_PACKERS = frozenset({".gz", ".bz2", ".xz", ".zst", ".lz4"})

KNOWN = READ | _PICTURES | _MICROSCOPES | _FOLDERS | _FILMS | _DOCUMENTS
"""Extensions that count as images, in lower or upper case."""

_LEFTOVERS = _endings(".part .partial .crdownload .download .tmp .bak .old .orig .sav")
"""Extensions that programs append to files that are incomplete, or not the newest version."""

_SIDECARS = _endings(
    ".txt .csv .tsv .json .geojson .jsonl .xml .xmp .yaml .yml .toml .ini .cfg .md .rst .log .html "
    ".htm .css .js .py .ipynb .sh .bat .m .r .ijm .groovy .db .sqlite .lnk .url .md5 .sha1 .sha256 "
    ".sum .sig .npy .npz .mat .h5 .hdf5 .pt .pth .onnx .safetensors .pkl .parquet .xls .xlsx "
    ".ods .doc .docx .odt .rtf .ppt .pptx .odp .tex .bib .ndpa .qpproj .qpdata .roi .icc .icm .dat "
    ".gjf .pgw .jgw .tfw .wld .aux .ovr .exe .dll .so .wav .mp3"
)
"""Extensions of files kept beside images, which are no images whatever they begin with."""

_SYSTEM_NAMES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "dicomdir"})

NOT_LOOKED_INTO = frozenset({"__macosx", "@eadir", "$recycle.bin", "lost+found"})
"""Folders that systems create for thumbnails and deleted files, in lower case."""

_HEAD_BYTES = 264
_STARTS = (
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"GIF8"),
    *(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"\0\0\0\x0cJXL ", b"\xff\x0a", b"8BPS", b"%PDF"),
    *(b"\x76\x2f\x31\x01", b"IIRO", b"IIU\0", b"FUJIFILMCCD-RAW", b"ZISRAWFILE", b"II\xbc"),
    *(b"\xda\xce\xbe\x0a", b"\x1a\x45\xdf\xa3", b"p\0\0\0*", b"gimp xcf"),
)
_PLAIN_TEXT = frozenset({*range(0x20, 0x7F), *b"\t\n\r\f"})


def has_image_name(name: str) -> bool:
    """Return whether a file with this name counts as an image; hidden ones do not."""
    return not is_hidden(name) and Path(name).suffix.lower() in KNOWN


def is_folder_of_image(name: str) -> bool:
    """Return whether a folder's name is that of an image rather than of a folder of images."""
    return not is_hidden(name) and Path(name).suffix.lower() in READ | _FOLDERS


def looks_like_image(path: Path) -> bool:
    """Return whether a file is an image, a compressed or partial one, or an archive with some."""
    return has_image_name(path.name) or _has_other_name(path.name) or holds_images(path)


def is_hidden(name: str) -> bool:
    """Return whether a system hides files with this name."""
    return name.startswith(".")


def is_archive(path: Path) -> bool:
    """Return whether a path leads to a plain file that is an archive, by name or first bytes."""
    if not path.is_file():
        return False
    if Path(path.name).suffix.lower() in _ARCHIVES:
        return True
    try:
        with path.open("rb") as file:
            return not has_image_name(path.name) and file.read(4) == b"PK\x03\x04"
    except OSError:
        return False


def _has_other_name(name: str) -> bool:
    """Return whether a name is like ``a.tif.gz``, ``a.png.part``, ``a.jpg.1`` or ``a.png~``."""
    if is_hidden(name):
        return False
    endings = [ending.lower() for ending in Path(name.rstrip("~")).suffixes]
    if name.endswith("~") and endings and endings[-1] in KNOWN:
        return True
    behind = _LEFTOVERS | _PACKERS
    while endings and (endings[-1] in behind or endings[-1][1:].isdigit()):
        endings.pop()
        if endings and endings[-1] in KNOWN:
            return True
    return False


def holds_images(path: Path) -> bool:
    """Return whether a file is an image or an archive that may hold some, whatever its name.

    Only plain files are opened, and only a few bytes or a zip archive's list are read. One that
    cannot be opened counts as an image, so that reading it says why.
    """
    name = path.name
    endings = [ending.lower() for ending in Path(name).suffixes]
    last = endings[-1] if endings else ""
    if is_hidden(name) or name.lower() in _SYSTEM_NAMES or last in _SIDECARS or not path.is_file():
        return False
    if last == _LOOKED_INTO:
        return _zip_with_images(path)
    if last in _ARCHIVES:
        # The compressed file's name says what it is: a.csv.gz. Without an extension it may be
        # anything.
        return len(endings) < 2 or endings[-2] not in _SIDECARS
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return True
    return begins_like_image(head)


def begins_like_image(head: bytes) -> bool:
    """Return whether the first bytes of a file, 264 or all, are those of an image."""
    if head.startswith(_STARTS) or head[128:132] == b"DICM":
        return True
    if head[:4] == b"RIFF":
        return head[8:12] in (b"WEBP", b"AVI ")
    if head[4:8] == b"ftyp":
        return True
    # Two letters say little; a bitmap continues with its length and four zeros.
    return head[:2] == b"BM" and head[6:10] == bytes(4) and not _PLAIN_TEXT.issuperset(head)


def _zip_with_images(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError):
        return True
    parts = (name.split("/") for name in names if not name.endswith("/"))
    return any(
        has_image_name(part[-1]) and not any(map(is_ignored_folder, part[:-1])) for part in parts
    )


def is_ignored_folder(folder: str) -> bool:
    """Return whether folders with this name are never searched."""
    return is_hidden(folder) or folder.lower() in NOT_LOOKED_INTO
