"""Pictures that lie in tables."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_lerobot import encoded, picture, png_column

from pi0_ros.data.errors import DataError
from pi0_ros.data.stills import Stills, encoded_picture


def test_pictures_are_read_row_by_row_and_a_table_without_them_is_named(tmp_path):
    file = tmp_path / "data.parquet"
    pq.write_table(pa.table({"eye": png_column([picture(0, 1), picture(2, 5)]), "n": [1, 2]}), file)
    stills = Stills(tmp_path, file, "eye")
    for row, wanted in ((1, picture(2, 5)), (0, picture(0, 1))):
        np.testing.assert_array_equal(stills.at(row), wanted)
    with pytest.raises(DataError, match=r"data\.parquet: lacks the column 'ear' of info\.json's features"):
        Stills(tmp_path, file, "ear")
    pq.write_table(pa.table({"eye": pa.array([{"bytes": b"none", "path": None}])}), file)
    with pytest.raises(DataError, match=r"data\.parquet: 'eye' of row 0 is no picture"):
        Stills(tmp_path, file, "eye").at(0)


def test_a_row_holds_a_pictures_bytes_or_names_a_file_of_the_dataset(tmp_path):
    folder, data = tmp_path / "set", encoded(picture(1, 2))
    folder.mkdir()
    (folder / "one.png").write_bytes(b"in the file")
    (tmp_path / "secret.png").write_bytes(b"outside")
    assert encoded_picture(folder, data) == data
    assert encoded_picture(folder, {"bytes": data, "path": "one.png"}) == data
    assert encoded_picture(folder, {"bytes": None, "path": "one.png"}) == b"in the file"
    assert encoded_picture(folder, {"bytes": b"", "path": "one.png"}) == b"in the file"
    for path, match in (("../secret.png", "is outside the dataset's folder"), ("two.png", "is not there")):
        with pytest.raises(ValueError, match=match):
            encoded_picture(folder, {"bytes": None, "path": path})
    with pytest.raises(KeyError):
        encoded_picture(folder, {"bytes": None})
