"""A gallery on disk: pictures' ids, sources, metadata, thumbnails and vectors, ready to search."""

from chatsearcher.gallery.exchange import ImportReport, export_gallery, import_gallery
from chatsearcher.gallery.layout import Failure, Manifest, Metric
from chatsearcher.gallery.reader import Gallery
from chatsearcher.gallery.writer import GalleryWriter

__all__ = [
    "Failure",
    "Gallery",
    "GalleryWriter",
    "ImportReport",
    "Manifest",
    "Metric",
    "export_gallery",
    "import_gallery",
]
