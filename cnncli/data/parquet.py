"""The images in Parquet files; see `cnncli.config.parquet`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cnncli.config.parquet import image_bytes, open_parquet, parquet_errors
from cnncli.data.decode import UnreadableImageError
from cnncli.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_BYTES = 2**28
"""The rows that are read at once have so many bytes at most, unless one alone has more."""
_BATCH_ROWS = 64


class ParquetImages:
    """Reads the images of Parquet files; those of a file are best read in the order of its rows.

    Args:
        column: the name of the column of images.
    """

    def __init__(self, column: str) -> None:
        self._column = column
        self._group: _RowGroup | None = None

    def __reduce__(self) -> tuple[type["ParquetImages"], tuple[str]]:
        """Without the open file, for another process."""
        return ParquetImages, (self._column,)

    def __call__(self, path: Path) -> bytes:
        """The image at the path of a file and the row in it, such as `train.parquet/17`.

        Raises:
            UnreadableImageError: the row has no image, or the file is damaged there.
        """
        file, row = path.parent, int(path.name)
        try:
            if self._group is None or not self._group.can_read(file, row):
                with parquet_errors(file):
                    self._group = _RowGroup(file, row, self._column)
            return self._group.read(row)
        except DataError as error:
            raise UnreadableImageError(error.message.removeprefix(f"{file}: ")) from None


class _RowGroup:
    """A row group of a file, of which the images are read in order.

    Args:
        file: the file.
        row: of the row group.
        column: of the images.
    """

    def __init__(self, file: Path, row: int, column: str) -> None:
        self._file = file
        opened = open_parquet(file)
        end = 0
        for number in range(opened.metadata.num_row_groups):
            group = opened.metadata.row_group(number)
            end += group.num_rows
            if row < end:
                break
        else:
            raise ValueError(f"it has {end:,} rows")
        path = image_bytes(opened.schema_arrow.field(column))
        assert path is not None, "checked by read_parquet"
        chunks = [group.column(each) for each in range(group.num_columns)]
        size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == path)
        batch = max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, size)))
        self._batches: Iterator[pa.RecordBatch] = opened.iter_batches(
            batch, row_groups=[number], columns=[path], use_threads=False
        )
        self._end = end
        self._read = range(end - group.num_rows, end - group.num_rows)
        """The rows that are in memory."""
        self._images: pa.Array | None = None
        self._damage: DataError | None = None

    def can_read(self, file: Path, row: int) -> bool:
        """Whether a row of a file is one that was read last, or comes after those."""
        return file == self._file and self._read.start <= row < self._end

    def read(self, row: int) -> bytes:
        """The image in a row for which `can_read`.

        Raises:
            DataError: the file is damaged before the end of the row.
            UnreadableImageError: the row has no image.
        """
        import pyarrow as pa

        if self._damage is not None and row not in self._read:
            raise self._damage
        try:
            with parquet_errors(self._file):
                while row not in self._read:
                    batch = next(self._batches, None)
                    if batch is None:
                        raise ValueError("rows are missing")
                    column = batch.column(0)
                    # A struct of nothing but the bytes; a row without a struct has no bytes either.
                    self._images = column.flatten()[0] if isinstance(column, pa.StructArray) else column
                    self._read = range(self._read.stop, self._read.stop + len(batch))
        except DataError as error:  # the rows that follow cannot be read either
            self._damage = error
            raise
        assert self._images is not None, "read"
        image: bytes | None = self._images[row - self._read.start].as_py()
        if image is None:
            raise UnreadableImageError("no image in this row")
        return image
