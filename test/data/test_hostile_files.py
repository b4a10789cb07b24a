"""Files that are small and stand for gigabytes, that break other readers, or that point elsewhere: kinds of public reports."""

import io
import os
import resource
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

av = pytest.importorskip("av")

from pi0_ros.data.bag import CHUNK, JOINTS, read_bag
from pi0_ros.data.dataset import Dataset
from pi0_ros.data.errors import DataError
from pi0_ros.data.tables import read_json, read_json_lines, read_table
from pi0_ros.data.video import VideoReader, VideoWriter

SEEDS = Path(__file__).resolve().parents[2] / "bench" / "fuzz_seeds"
BIG = "x" * 30_000_000


def small_dataset(folder: Path) -> Path:
    """The sound dataset of the fuzz seeds."""
    from bench._fuzz_targets import _small_dataset

    _small_dataset(folder, "episodes")
    return folder


def in_little_memory(code: str, *words: object) -> str:
    """What a few lines of Python print in a process that may take 700 MB more than it has after its imports."""
    start = (
        "import resource, sys; from pathlib import Path; from pi0_ros.data.errors import DataError; "
        "from pi0_ros.data.tables import read_table; from pi0_ros.data.bag import read_bag, CHUNK; import zstandard\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 700_000_000, resource.RLIM_INFINITY))\n"
    )
    env = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"}
    done = subprocess.run(
        [sys.executable, "-c", start + code, *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
        env=env,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def bomb(kind: str) -> pa.Table:
    rows = pa.array([0] * 200, pa.int32())
    text = pa.DictionaryArray.from_arrays(rows, pa.array([BIG]))
    if kind == "list":
        return pa.table({"tasks": pa.ListArray.from_arrays(pa.array(range(201), pa.int32()), text)})
    if kind == "picture":
        data = pa.DictionaryArray.from_arrays(rows, pa.array([BIG.encode()]))
        return pa.table({"observation.images.front": pa.StructArray.from_arrays([data], ["bytes"])})
    return pa.table({"task": text})


@pytest.mark.parametrize("kind", ["text", "list", "picture"])
def test_a_kilobyte_of_parquet_that_is_six_gigabytes_of_text_is_refused_in_little_memory(tmp_path, kind):
    file = tmp_path / "bomb.parquet"
    pq.write_table(bomb(kind), file, compression="zstd")
    assert file.stat().st_size < 2000
    code = "try: read_table(Path(sys.argv[1]))\nexcept DataError as e: print(e)"
    assert "holds 6000000000 bytes of text, more than the 1073741824 that are read" in in_little_memory(code, file)


def test_runs_of_one_number_that_are_more_than_memory_are_refused(tmp_path):
    file = tmp_path / "runs.parquet"
    one = pa.DictionaryArray.from_arrays(pa.array(np.zeros(300_000_000, np.int8)), pa.array([1.5]))
    pq.write_table(pa.table({"action": one}), file, compression="zstd")
    with pytest.raises(DataError, match="300000000 rows; at most 268435456 are read"):
        read_table(file)


def test_texts_that_rows_share_are_read_where_they_are_few(tmp_path):
    file = tmp_path / "tasks.parquet"
    wanted = [f"touch the block number {k % 50}" for k in range(40_000)]
    nested = [[w, "and hold"] for w in wanted]
    pq.write_table(pa.table({"task": wanted, "tasks": nested, "n": range(40_000)}), file)
    table = read_table(file)
    assert table.column("task").to_pylist() == wanted and table.column("tasks").to_pylist() == nested
    assert table.schema.field("task").type == pa.string() and table.schema.field("tasks").type == pa.list_(pa.string())


def test_a_footer_that_makes_pyarrow_end_the_process_is_a_sentence(tmp_path):
    # "Definition level histogram size mismatch": `row_group(0).column(0)` of pyarrow 26 ends in std::terminate.
    file = tmp_path / "tasks.parquet"
    file.write_bytes((SEEDS / "tasks" / "found-histogram").read_bytes())
    with pytest.raises(DataError, match=r"tasks.parquet: is damaged \(Definition level histogram"):
        read_table(file)


def test_a_file_that_was_never_closed_has_no_footer_and_is_a_sentence(tmp_path):
    file = tmp_path / "file-000.parquet"
    out = io.BytesIO()
    pq.write_table(pa.table({"a": range(1000)}), out)
    for data in (out.getvalue()[:-8], out.getvalue()[:100], b"", bytes(4096)):
        file.write_bytes(data)
        with pytest.raises(DataError, match="file-000.parquet: is damaged"):
            read_table(file)


def test_an_mcap_chunk_that_stands_for_gigabytes_is_refused_in_little_memory(tmp_path):
    import lz4.frame
    import zstandard

    def record(opcode: int, body: bytes) -> bytes:
        return struct.pack("<BQ", opcode, len(body)) + body

    def text(value: str) -> bytes:
        return struct.pack("<I", len(value)) + value.encode()

    zeros = bytes(1 << 20)
    packed = {
        "zstd": zstandard.ZstdCompressor().compress(zeros * 540),
        "lz4": lz4.frame.compress(zeros * 540),
    }
    for name, data in packed.items():
        for announced in (540 << 20, 1000):
            chunk = struct.pack("<QQQI", 0, 1, announced, 0) + text(name) + struct.pack("<Q", len(data)) + data
            file = tmp_path / f"{name}-{announced}.mcap"
            file.write_bytes(b"\x89MCAP0\r\n" + record(1, text("ros2") + text("")) + record(6, chunk))
            code = "try: read_bag(Path(sys.argv[1]), (CHUNK,))\nexcept DataError as e: print(e)"
            assert f"{file}: is damaged or no MCAP file" in in_little_memory(code, file)


def in_a_chunk(data, plain):
    """An MCAP file with one zstd chunk, which says that it stands for `plain` bytes."""
    text = lambda value: struct.pack("<I", len(value)) + value
    chunk = struct.pack("<QQQI", 0, 1, plain, 0) + text(b"zstd") + struct.pack("<Q", len(data)) + data
    record = lambda opcode, body: struct.pack("<BQ", opcode, len(body)) + body
    return b"\x89MCAP0\r\n" + record(1, text(b"ros2") + text(b"")) + record(6, chunk)


@pytest.mark.parametrize(
    ("records", "why"),
    [
        (bytes(9), "a record of 0 bytes with the opcode 0"),  # two millions of them
        (struct.pack("<BQ", 8, 0), "a record of 0 bytes with the opcode 8"),
        (struct.pack("<BQ", 5, 3) + bytes(3), "a record of 3 bytes with the opcode 5"),
        (struct.pack("<BQ", 5, 1 << 40), "a record of 1099511627776 bytes in what is left of a chunk"),
        (struct.pack("<BQHIQQ", 5, 22, 1, 0, 0, 0), "more records than that"),
    ],
)
def test_an_mcap_chunk_of_millions_of_records_in_a_few_kilobytes_ends_after_a_few_of_them(
    tmp_path, monkeypatch, records, why
):
    import zstandard

    from pi0_ros.data import mcap_records

    channel = struct.pack("<HHI", 1, 0, 1) + b"t" + struct.pack("<I", 3) + b"cdr" + struct.pack("<I", 0)
    plain = struct.pack("<BQ", 4, len(channel)) + channel + records * (20_000_000 // len(records))
    file = tmp_path / "bomb.mcap"
    file.write_bytes(in_a_chunk(zstandard.ZstdCompressor().compress(plain), len(plain)))
    assert file.stat().st_size < 60_000
    read, walk = [], mcap_records._chunk_records

    def counted(data):
        for record in walk(data):
            read.append(1)
            yield record

    monkeypatch.setattr(mcap_records, "_chunk_records", counted)
    with pytest.raises(DataError, match=f"bomb.mcap: is damaged or no MCAP file .*{why}"):
        read_bag(file, (CHUNK,))
    assert len(read) <= mcap_records.ROOM + file.stat().st_size


def test_a_compressed_recording_that_would_fill_the_disk_is_refused(tmp_path, monkeypatch):
    import zstandard

    from pi0_ros.data import bag

    monkeypatch.setattr(bag, "LARGEST_RATIO", 1)
    monkeypatch.setattr(bag, "ROOM", 1 << 20)
    file = tmp_path / "run.mcap.zstd"
    file.write_bytes(zstandard.ZstdCompressor().compress(bytes(64 << 20)))
    with pytest.raises(DataError, match="run.mcap.zstd: unpacks to more than"):
        read_bag(file, (CHUNK,))


def test_a_schema_whose_messages_have_no_fields_is_refused_before_four_billion_of_them_are_made(tmp_path):
    from mcap.writer import Writer

    file = tmp_path / "empty.mcap"
    with file.open("wb") as stream:
        writer = Writer(stream)
        writer.start(profile="ros2", library="")
        text = "Empty[] header\n" + "=" * 80 + "\nMSG: x/Empty\n# nothing\n"
        schema = writer.register_schema(name=JOINTS, encoding="ros2msg", data=text.encode())
        channel = writer.register_channel(topic="joint_states", message_encoding="cdr", schema_id=schema)
        writer.add_message(channel, 0, b"\0\1\0\0\xff\xff\xff\xff", 0)
        writer.finish()
    with pytest.raises(DataError, match="a message without fields"):
        read_bag(file, (JOINTS,))


@pytest.mark.parametrize("place", ["data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"])
def test_a_link_in_a_dataset_that_leaves_its_folder_is_refused(tmp_path, place):
    folder = small_dataset(tmp_path / "d")
    outside = tmp_path / "private.parquet"
    (folder / place).rename(outside)
    (folder / place).symlink_to(outside)
    with pytest.raises(
        DataError, match=f"{place}: is a link that leaves the dataset's folder|leaves the dataset's folder"
    ):
        Dataset(folder)[0]


def test_a_dataset_in_the_hubs_cache_is_made_of_links_and_is_read(tmp_path):
    folder = small_dataset(tmp_path / "datasets--a--b" / "snapshots" / "0123abcd")
    blobs = tmp_path / "datasets--a--b" / "blobs"
    blobs.mkdir()
    for k, file in enumerate([f for f in folder.rglob("*") if f.is_file()]):
        file.rename(blobs / str(k))
        file.symlink_to(blobs / str(k))
    with Dataset(folder) as dataset:
        assert len(dataset) == 4 and dataset[0]["task"] == "touch"


@pytest.mark.parametrize("place", ["meta/info.json", "meta/tasks.parquet", "data/chunk-000/file-000.parquet"])
def test_a_pipe_in_place_of_a_file_does_not_block(tmp_path, place):
    folder = small_dataset(tmp_path / "d")
    (folder / place).unlink()
    os.mkfifo(folder / place)
    with pytest.raises(DataError, match=f"{place}: is a pipe; a regular file is needed|info.json: not there"):
        Dataset(folder)[0]


def test_numbers_that_no_float_holds_and_texts_that_are_no_utf8_name_the_file(tmp_path):
    file = tmp_path / "info.json"
    for data, match in (
        (b'{"fps": ' + b"9" * 5000 + b"}", "info.json: not valid JSON: a number of 5000 digits"),
        (b"[" * 100_000, "info.json: not valid JSON"),
        (b'{"a": "\xff"}', r"info.json: is not text in UTF-8 \(byte 7\)"),
    ):
        file.write_bytes(data)
        with pytest.raises(DataError, match=match):
            read_json(file)
        with pytest.raises(DataError, match=match):
            read_json_lines(file)


def test_a_feature_of_numbers_whose_column_holds_text_is_refused(tmp_path):
    folder = small_dataset(tmp_path / "d")
    (folder / "data/chunk-000/file-000.parquet").write_bytes((SEEDS / "rows" / "text").read_bytes())
    with pytest.raises(DataError, match="file-000.parquet: action holds text, info.json says 'float32'"):
        Dataset(folder)[0]


def test_lengths_that_no_table_has_are_refused_before_memory_is_asked_for(tmp_path):
    for name in ("hostile-00", "hostile-01", "hostile-05"):
        folder = small_dataset(tmp_path / name)
        (folder / "meta/episodes/chunk-000/file-000.parquet").write_bytes((SEEDS / "episodes" / name).read_bytes())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(DataError, match="according to its table"):
            Dataset(folder)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def encoded(side: int, count: int) -> list[bytes]:
    """Pictures as H.264, each of them a key frame that says its own size."""
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = side, side, "yuv420p"
    context.time_base, context.framerate, context.thread_count = Fraction(1, 10), 10, 1
    context.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "40", "g": "1"}
    found = []
    for k in range(count):
        frame = av.VideoFrame.from_ndarray(np.full((side, side, 3), 40 + k % 99, np.uint8), "rgb24")
        frame.pts, frame.time_base = k, context.time_base
        found.append(b"".join(bytes(packet) for packet in context.encode(frame)))
    return found


def test_a_video_whose_pictures_grow_later_on_is_refused_before_they_are_decoded(tmp_path):
    raw, file = tmp_path / "raw.h264", tmp_path / "grows.mp4"
    raw.write_bytes(b"".join(encoded(64, 400) + encoded(8192, 1)))
    with av.open(str(raw), format="h264") as source, av.open(str(file), "w", format="matroska") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for k, packet in enumerate(p for p in source.demux(source.streams.video[0]) if p.size):
            packet.time_base, packet.pts, packet.dts, packet.stream = Fraction(1, 10), k, k, stream
            out.mux(packet)
    reader = VideoReader(file)
    assert reader.at([39.9])[0].shape == (64, 64, 3)
    with pytest.raises(DataError, match=f"{file}: cannot be decoded"):
        reader.at([40.0])


def test_a_script_in_place_of_a_video_opens_no_other_file(tmp_path):
    """FFmpeg would follow it, and through a link leave the dataset's folder."""
    elsewhere, folder = tmp_path / "elsewhere.mp4", tmp_path / "videos"
    writer = VideoWriter(elsewhere, 10, (32, 48, 3))
    for k in range(3):
        writer.add(np.full((32, 48, 3), 60 + k, np.uint8))
    writer.close()
    assert VideoReader(elsewhere).at([0.1])[0].shape == (32, 48, 3)
    folder.mkdir()
    (folder / "inner.mp4").symlink_to(elsewhere)
    for text in ("ffconcat version 1.0\nfile 'inner.mp4'\n", "#EXTM3U\n#EXTINF:1.0,\ninner.mp4\n#EXT-X-ENDLIST\n"):
        (folder / "file-000.mp4").write_text(text)
        with pytest.raises(DataError, match="file-000.mp4: cannot be decoded"):
            VideoReader(folder / "file-000.mp4")
