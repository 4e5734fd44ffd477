"""Videos out: H.264 frames at their times, sound copied as it is."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import av.error
import numpy as np
from av.audio import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video import VideoFrame as AVFrame
from av.video import VideoStream

from pfvit.data.images import Pixels
from pfvit.utils.files import cannot_write, remove, sync, unfinished
from pfvit.video.io import LOOKAHEAD, frames_at_once

#: Sound that an MP4 file takes as it is; with any other the video becomes a Matroska file, which takes all.
MP4_SOUND = {"aac", "alac", "ac3", "eac3", "flac", "mp2", "mp3", "opus"}
ENDINGS = (".mp4", ".mkv")
CLOCK = Fraction(1, 90_000)  # seconds per tick of what is written
#: Matrices between RGB and what a film stores that FFmpeg converts by, by its numbers: BT.709, FCC, BT.601 (of 625 and
#: 525 lines), SMPTE 240M, BT.2020. Brightness is written from 16 to 235, as players expect it.
MATRICES, BT_709, OF_RGB, FROM_16_TO_235 = (1, 4, 5, 6, 7, 9), 1, 0, 1
#: Frames that the thread which writes them may have to do.
WRITE_QUEUE = 6
#: Where frames are so large that fewer than LOOKAHEAD may wait, x264 looks at one after the other: of 8K it would hold
#: 1.6 GB, and so holds 0.6 GB.
ONE_BY_ONE = {"x264-params": "rc-lookahead=0:bframes=0:sliced-threads=1"}


class VideoWriter:
    """Writes a video with H.264 frames and the sound of another; it appears under its name when it is whole.

    A thread of its own draws and encodes while the model reads on; what goes wrong there is raised by a later call.
    """

    def __init__(
        self,
        path: Path,
        rate: Fraction,
        size: tuple[int, int],
        audio: AudioStream | None,
        like: VideoStream | None = None,
    ):
        """Begin a video of frames of `size` (width, height); InputError if it cannot be written.

        It says of its colours what the video that it is made of (`like`) says of them: players take those of films that
        say nothing for BT.709 if they are large, and for BT.601 if not. So one that says nothing is written as it was
        read, as BT.601, and looks as it did.
        """
        self.path, self.part = path, unfinished(path)
        self.hand = ThreadPoolExecutor(1)
        self.waiting: deque[Future[None]] = deque()
        self.frames: deque[Future[None]] = deque()
        # H.264 stores colour for every second pixel, so the sides must be even.
        self.size = size[0] + size[0] % 2, size[1] + size[1] % 2
        self.queue = frames_at_once(self.size[0] * self.size[1], WRITE_QUEUE)
        try:
            self.container: OutputContainer = av.open(str(self.part), "w")
            codec = next(name for name in ("libx264", "h264", "mpeg4") if name in av.codecs_available)
            quality = {"crf": "20", "preset": "veryfast"} if codec == "libx264" else {}
            if quality and frames_at_once(self.size[0] * self.size[1], LOOKAHEAD) < LOOKAHEAD:
                quality |= ONE_BY_ONE
            self.video = cast(VideoStream, self.container.add_stream(codec, rate=rate, options=quality))
            self.video.width, self.video.height = self.size
            self.video.pix_fmt = "yuv420p"
            self.video.codec_context.time_base = CLOCK
            # Frames out of order make an MP4 file say that it ends with its last but two, which may be long before.
            self.video.codec_context.max_b_frames = 0
            self.matrix = None if like is None else self._take_colours(like)
            self.audio = None if audio is None else self.container.add_stream_from_template(audio)
        except (av.error.FFmpegError, OSError, ValueError) as problem:
            remove(self.part)
            raise cannot_write(path, problem) from problem

    def show(self, image: Pixels | Callable[[], Pixels], time: float) -> None:
        """Write a frame, uint8 [height, width, 3], that is seen from this second on.

        A function that returns the frame is called in the thread that encodes.
        """
        if len(self.frames) == self.queue:
            self.frames.popleft().result()
        self.frames.append(self._later(self._show, image, time))

    def sound(self, packet: Packet) -> None:
        """Write a packet of sound; it is copied, so that several writers can take it.

        It waits for no frame: packets are small, but two come with each frame, and if they took their places in the
        queue, the model would wait for nearly all frames to be drawn before it reads the next.
        """
        self._later(self._sound, packet)

    def finish(self) -> None:
        """Write what is left, and give the file its name."""
        while self.waiting:
            self.waiting.popleft().result()
        self._encode(None)
        try:
            self.container.close()
            sync(self.part)
            self.part.replace(self.path)
            sync(self.path.parent)
        except (av.error.FFmpegError, OSError) as problem:
            raise cannot_write(self.path, problem) from problem
        self.hand.shutdown()

    def discard(self) -> None:
        """Leave nothing unfinished behind."""
        self.hand.shutdown(cancel_futures=True)
        with suppress(av.error.FFmpegError, OSError):
            self.container.close()
        remove(self.part)

    def _later(self, work: Callable[..., None], *arguments: object) -> Future[None]:
        while self.waiting and self.waiting[0].done():
            self.waiting.popleft().result()
        self.waiting.append(self.hand.submit(work, *arguments))
        return self.waiting[-1]

    def _take_colours(self, like: VideoStream) -> int | None:
        """Say of the colours what another video says, and return the matrix to convert by; None if it says nothing."""
        theirs, ours = like.codec_context, self.video.codec_context
        matrix = BT_709 if theirs.colorspace == OF_RGB else theirs.colorspace
        if matrix not in MATRICES:
            return None
        ours.colorspace, ours.color_range = matrix, FROM_16_TO_235
        ours.color_primaries, ours.color_trc = theirs.color_primaries, theirs.color_trc
        return matrix

    def _show(self, image: Pixels | Callable[[], Pixels], time: float) -> None:
        image = image() if callable(image) else image
        height, width = image.shape[:2]
        if (width, height) != self.size:
            missing = ((0, self.size[1] - height), (0, self.size[0] - width), (0, 0))
            image = np.pad(image, missing, mode="edge")
        frame = AVFrame.from_numpy_buffer(np.ascontiguousarray(image), format="rgb24")
        if self.matrix is not None:
            frame = frame.reformat(format="yuv420p", dst_colorspace=self.matrix, dst_color_range=FROM_16_TO_235)
        frame.pts, frame.time_base = round(time / CLOCK), CLOCK
        self._encode(frame)

    def _encode(self, frame: AVFrame | None) -> None:
        try:
            packets = self.video.encode(frame)
        except (av.error.FFmpegError, OSError, ValueError) as problem:
            raise cannot_write(self.path, problem) from problem
        self._write(packets)

    def _sound(self, packet: Packet) -> None:
        if self.audio is None:
            return
        copy = Packet(bytes(packet))
        copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
        copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
        copy.stream = self.audio
        self._write([copy])

    def _write(self, packets: list[Packet]) -> None:
        try:
            for packet in packets:
                self.container.mux(packet)
        except (av.error.FFmpegError, OSError) as problem:
            raise cannot_write(self.path, problem) from problem


def suffix_for(audio: AudioStream | None) -> str:
    """Return the ending of a video that keeps this sound."""
    return ENDINGS[0 if audio is None or audio.codec_context.name in MP4_SOUND else 1]
