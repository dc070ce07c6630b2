"""From pictures to a gallery: finding them, reading them safely, encoding them in batches."""

from chatsearcher.indexing.build import BuildReport, build_gallery
from chatsearcher.indexing.sources import list_sources

__all__ = ["BuildReport", "build_gallery", "list_sources"]
