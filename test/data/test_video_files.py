"""Videos: which pictures a cut may begin and end with, how far pictures are from their times, what else a file may hold."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

av = pytest.importorskip("av")

from small_lerobot import picture, write_video

from pi0_ros.data import episode_saver, video
from pi0_ros.data.encoded_pictures import PictureError
from pi0_ros.data.episode_saver import sampled_statistics
from pi0_ros.data.errors import DataError
from pi0_ros.data.video import (
    Part,
    StreamEncoder,
    VideoReader,
    VideoWriter,
    concatenate,
    describe,
    may_be_cut_out,
    picture_count,
)


@pytest.mark.parametrize(
    ("places", "keys", "start", "frames", "whole"),
    [
        ([0, 1, 2, 3, 4, 5], "k.k.k.", 2, 2, True),
        ([0, 1, 2, 3, 4, 5], "k.k.k.", 2, 4, True),
        ([0, 1, 2, 3, 4, 5], "k.k.k.", 1, 2, False),  # does not begin with a key frame
        ([0, 1, 2, 3, 4, 5], "k.k.k.", 6, 2, False),  # not there
        ([0, 3, 1, 2, 4, 5], "k.....", 0, 3, False),  # 1 and 2 are encoded by 3, which is shown behind them
        ([0, 3, 1, 2, 4, 5], "k.....", 0, 4, True),
        ([0, 1, 4, 3, 2, 5], "k.....", 0, 4, False),  # of what stands before the last one only 4 is behind it
        ([2, 0, 1, 3], "k..k", 0, 3, False),  # the first packet is of a later picture
    ],
)
def test_what_may_be_cut_out_begins_with_a_key_frame_and_needs_nothing_behind_it(
    monkeypatch, tmp_path, places, keys, start, frames, whole
):
    """places: which picture each packet holds, in the order of decoding."""
    monkeypatch.setattr(video, "_order", lambda file, rate: (places, [k == "k" for k in keys]))
    assert may_be_cut_out(tmp_path, start, frames) == whole


def test_a_reader_knows_how_far_a_picture_was_from_its_time_at_most(tmp_path):
    """Pictures at 0, 0.13, 0.2 and 0.31 s instead of every 0.1 s."""
    file = tmp_path / "v.mp4"
    write_video(file, [picture(0, k) for k in range(4)], 10, pts=[0, 13, 20, 31], ticks=100)
    reader = VideoReader(file)
    try:
        assert reader.drift == 0.0
        reader.at([0.2, 0.1], 0.049)
        assert reader.drift == pytest.approx(0.03, abs=1e-3)
        reader.at([0.3, 0.0], 0.049)
        assert reader.drift == pytest.approx(0.03, abs=1e-3)
        with pytest.raises(
            DataError, match=r"has no picture within 0\.0290 s of 0\.1000 s, the nearest is at 0\.1300 s"
        ):
            reader.at([0.1], 0.029)
    finally:
        reader.close()


def test_statistics_of_a_recorded_video_need_every_picture_within_half_a_period(tmp_path):
    for late, sound in ((4, True), (6, False)):
        file = tmp_path / f"{late}.mp4"
        write_video(file, [picture(0, k) for k in range(3)], 10, pts=[0, 10 + late, 20], ticks=100)
        if sound:
            found = sampled_statistics(file, 3, 10)
            assert found["count"].tolist() == [3] and found["mean"][1, 0, 0] * 255 == pytest.approx(8.0, abs=2.0)
        else:
            with pytest.raises(DataError, match=r"has no picture within 0\.0500 s of 0\.1000 s"):
                sampled_statistics(file, 3, 10)


def write_with_sound(file, pictures, fps):
    """A film as a phone records it: the sound is its first stream, and behind the film there is a smaller one."""
    with av.open(str(file), "w") as out:
        sound = out.add_stream("aac", rate=8000)
        sound.layout = "mono"
        films = [out.add_stream("libx264", rate=fps, options={"g": "2", "crf": "10", "bf": "0"}) for _ in range(2)]
        for film in films:
            film.height, film.width, film.pix_fmt = 32, 32, "yuv420p"
        film, other = films
        for k in range(4):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            silence.sample_rate, silence.pts, silence.time_base = 8000, 1024 * k, Fraction(1, 8000)
            out.mux(sound.encode(silence))
        for k, image in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = k, Fraction(1, fps)
            out.mux(film.encode(frame))
        shown = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 255, np.uint8), "rgb24")
        shown.pts, shown.time_base = 0, Fraction(1, fps)
        out.mux(other.encode(shown))
        out.mux([*sound.encode(None), *film.encode(None), *other.encode(None)])


def test_of_a_film_with_sound_the_pictures_are_copied(tmp_path):
    file = tmp_path / "phone.mp4"
    write_with_sound(file, [picture(1, k) for k in range(5)], 10)
    assert picture_count(file) == 5
    concatenate([Part(file, 3, 2), Part(file, 2)], tmp_path / "out.mp4", 10)
    reader = VideoReader(tmp_path / "out.mp4")
    means = [p.mean((0, 1)) for p in reader.at([k / 10 for k in range(5)])]
    reader.close()
    assert [round((m[0] - 20) / 40) for m in means] == [1] * 5
    assert [round(m[1] / 8) for m in means] == [2, 3, 4, 0, 1] and reader.drift < 1e-4


def test_a_part_that_a_video_has_not_is_refused(tmp_path):
    write_video(tmp_path / "a.mp4", [picture(0, k) for k in range(4)], 10)
    with pytest.raises(DataError, match="has 4 pictures, and not the 5 needed"):
        concatenate([Part(tmp_path / "a.mp4", 3, 2)], tmp_path / "out.mp4", 10)


def test_pictures_cost_one_thread_each_way(tmp_path):
    """The processor of a robot has other things to do, and sliced pictures are larger."""
    writer = VideoWriter(tmp_path / "v.mp4", 10, (32, 32, 3))
    assert writer._stream.codec_context.thread_count == 1
    writer.add(picture(0, 0))
    writer.close()
    writer.close()
    reader = VideoReader(tmp_path / "v.mp4")
    assert reader._track.codec_context.thread_count == 1
    reader.close()
    assert StreamEncoder(10, (32, 32, 3))._context.thread_count == 1


@pytest.mark.parametrize("shape", [(33, 32, 3), (32, 33, 3), (32, 32, 1), (32, 32)])
def test_a_shape_that_is_no_video_is_refused(tmp_path, shape):
    with pytest.raises(DataError, match="cannot be a video; give even height and width, 3"):
        VideoWriter(tmp_path / "v.mp4", 10, shape)
    assert not (tmp_path / "v.mp4").exists()


def test_a_track_that_does_not_say_what_it_counts_in_is_none():
    assert video._tick_of(SimpleNamespace(time_base=Fraction(1, 90_000))) == Fraction(1, 90_000)
    with pytest.raises(PictureError, match="its track has no time base"):
        video._tick_of(SimpleNamespace(time_base=None))


def test_what_info_json_says_of_a_video_is_what_its_file_is(tmp_path):
    writer, noise = VideoWriter(tmp_path / "v.mp4", 15, (32, 48, 3)), np.random.default_rng(1)
    still = noise.integers(0, 256, (32, 48, 3), np.uint8)  # a picture that changed would get a key frame of its own
    for _ in range(5):
        writer.add(still)
    writer.close()
    said = describe((32, 48, 3), 15)
    with av.open(str(tmp_path / "v.mp4")) as opened:
        track = opened.streams.video[0]
        assert (said["video.height"], said["video.width"], said["video.fps"]) == (track.height, track.width, 15)
        assert track.average_rate == 15 and said["has_audio"] is bool(opened.streams.audio) is False
        assert (said["video.codec"], said["video.pix_fmt"]) == (track.codec.name, track.pix_fmt)
        keys = [k for k, packet in enumerate(p for p in opened.demux(track) if p.size) if packet.is_keyframe]
    assert keys == list(range(0, 5, said["video.g"]))
    frame = VideoReader(tmp_path / "v.mp4").at([0.0])[0]
    assert said["video.channels"] == frame.shape[2] and said["is_depth_map"] is False


def test_a_stream_says_its_rate_its_size_and_its_key_frames(tmp_path):
    """A journal's video is raw H.264: nothing but the stream itself says how it is to be shown."""
    encoder = StreamEncoder(15, (32, 48, 3))
    noise = np.random.default_rng(1).integers(0, 60, (32, 48, 3), np.uint8)
    parts = [encoder.add(noise + np.uint8(30 * k)) for k in range(5)]
    assert all(parts)
    (tmp_path / "v.h264").write_bytes(b"".join(parts))
    with av.open(str(tmp_path / "v.h264")) as opened:
        context = opened.streams.video[0].codec_context
        assert (context.framerate, context.height, context.width, context.pix_fmt) == (15, 32, 48, "yuv420p")
    assert picture_count(tmp_path / "v.h264") == 5
    (tmp_path / "cut.h264").write_bytes(b"".join(parts[2:]))
    concatenate([Part(tmp_path / "cut.h264", 3)], tmp_path / "out.mp4", 15)
    reader = VideoReader(tmp_path / "out.mp4")
    shades = [round((p.mean() - 29.5) / 30) for p in reader.at([k / 15 for k in range(3)])]
    reader.close()
    assert shades == [2, 3, 4] and reader.drift < 1e-4, "it can be cut before a key frame"


def test_a_reader_goes_on_where_it_is_and_seeks_what_lies_before_or_far_ahead(tmp_path, monkeypatch):
    """Up to half a second ahead is decoded; what is further away, or behind, is sought."""
    write_video(tmp_path / "v.mp4", [picture(0, k) for k in range(30)], 10)
    sought = []
    seek = VideoReader._seek
    monkeypatch.setattr(
        VideoReader, "_seek", lambda self, second: sought.append(round(second, 3)) or seek(self, second)
    )
    reader = VideoReader(tmp_path / "v.mp4")

    def shown(*seconds):
        return [round(p.mean((0, 1))[1] / 8) for p in reader.at(seconds, 0.01)]

    assert shown(0.3, 0.1, 0.3) == [3, 1, 3] and sought == [0.09]
    assert shown(0.3, 0.4) == [3, 4] and shown(0.8) == [8] and sought == [0.09], "the same again, and 0.4 s on"
    assert shown(1.4) == [14] and sought == [0.09, 1.39]
    assert shown(1.3) == [13] and sought == [0.09, 1.39, 1.29]
    reader.close()


def test_a_file_that_ends_before_the_wanted_picture_or_is_none_is_named(tmp_path):
    with pytest.raises(DataError, match=r"v\.mp4: this video of the dataset is missing"):
        VideoReader(tmp_path / "v.mp4")
    (tmp_path / "v.mp4").write_bytes(b"no video at all" * 9)
    for read in (VideoReader, picture_count):
        with pytest.raises(DataError, match=r"v\.mp4: cannot be decoded"):
            read(tmp_path / "v.mp4")
    (tmp_path / "v.mp4").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(DataError, match="is a git-lfs pointer"):
        VideoReader(tmp_path / "v.mp4")


@pytest.mark.parametrize("broken", [False, True])
def test_statistics_of_a_video_are_of_the_pictures_that_are_sampled_and_its_file_is_let_go(monkeypatch, broken):
    """Of 201 pictures every third; the reader is closed whether they could be read or not."""
    asked, closed = [], []

    class Reader:
        def __init__(self, file):
            assert file == "v.mp4"

        def at(self, seconds, tolerance):
            if broken:
                raise DataError("v.mp4: cannot be decoded")
            asked.extend(seconds)
            assert tolerance == pytest.approx(0.02)
            return [np.full((2, 2, 3), len(asked), np.uint8)]

        def close(self):
            closed.append(True)

    monkeypatch.setattr(episode_saver, "VideoReader", Reader)
    if broken:
        with pytest.raises(DataError):
            sampled_statistics("v.mp4", 201, 25)
    else:
        found = sampled_statistics("v.mp4", 201, 25)
        assert asked == pytest.approx([3 * k / 25 for k in range(67)])
        assert found["count"].tolist() == [67] and found["mean"].ravel() * 255 == pytest.approx([34.0] * 3)
    assert closed == [True]
