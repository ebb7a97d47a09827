"""Expected text in a file of its own, so that a review shows it as it is."""

from __future__ import annotations

from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode


class TextFile(SingleFileSnapshotExtension):
    """``__snapshots__/MODULE/TEST.txt``"""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"
