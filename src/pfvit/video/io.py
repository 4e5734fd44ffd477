"""Videos in: frames with their times as they come, damage left out and counted."""

import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import av
import av.error
import numpy as np
from av.audio import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video import VideoFrame as AVFrame
from av.video import VideoStream

from pfvit.data.formats import HEAD, is_address, kind_of
from pfvit.data.images import Pixels
from pfvit.errors import InputError

WEBCAM = "webcam"
USUAL_RATE = Fraction(25)  # frames per second, for a file that does not say
ATTACHED_PICTURE = 0x0400  # FFmpeg's AV_DISPOSITION_ATTACHED_PIC: the cover of a song is no video
#: Pixels of a frame: 8K, and 8192x4096 of panoramas. Half a megabyte of film may ask for frames of 16384x16384.
#: Longer sides are none that H.264 can write.
MOST_PIXELS, MOST_SIDE = 36_000_000, 16_384
#: A webcam without a new frame is asked again after so many seconds, this often at most before it counts as gone.
PAUSE, PATIENCE = 0.01, 1000
#: What FFmpeg calls files that name others, here or on the network, to be read in their place; and text, which it would
#: draw as on a terminal.
NO_FILMS = {"hls", "applehttp", "concat", "dash", "imf", "rtp", "rtsp", "sap", "sdp", "vobsub"} | {"tty", "bin", "xbin"}
#: The share of its bytes that a file may lack before it counts as cut short, how an AVI file says that its size is not
#: known, and how many boxes of an MP4 file are looked through for its end.
MAY_LACK, UNKNOWN_SIZE, MOST_BOXES = 0.01, 0xFFFF_FF00, 100_000
#: Bytes of frames that wait in one place.
MOST_WAITING = 128_000_000
#: x264 looks so many frames ahead; where fewer may wait, decoders and encoders hold as few as they can.
LOOKAHEAD = 10


class VideoFrame(NamedTuple):
    """A frame of a video."""

    number: int
    """From 0."""
    time: float
    """Seconds since the start; it grows from frame to frame."""
    image: Pixels
    """uint8 [height, width, 3], RGB, upright, of square pixels; it may be overwritten."""


def is_live(source: str) -> bool:
    """Say whether a source is a webcam rather than a file."""
    return source == WEBCAM or source.startswith(f"{WEBCAM}:")


class VideoReader:
    """A video file or a webcam, open; `frames` yields its frames, and its sound if asked to."""

    def __init__(self, source: str):
        """Open a file, or `webcam`, `webcam:NUMBER`, `webcam:NAME`; InputError if it cannot be, or has no video."""
        self.source = source
        self.live = is_live(source)
        self.container = _open_webcam(source) if self.live else _open_file(source)
        # What FFmpeg has no decoder for has no codec context.
        every = [stream for stream in self.container.streams.get() if stream.codec_context is not None]
        films = [stream for stream in every if isinstance(stream, VideoStream)]
        streams = [stream for stream in films if not int(stream.disposition) & ATTACHED_PICTURE]
        if not streams:
            kinds = _kinds(self.container)
            self.container.close()
            if "video" in kinds and not films:
                raise InputError(f"{source} is damaged, or coded in a way that nothing here decodes")
            raise InputError(f"{source} has no video in it, only {kinds}")
        self.video: VideoStream = streams[0]
        width, height = self.video.width, self.video.height
        if _too_large(width, height):
            self.container.close()
            raise InputError(
                f"{source} has frames of {width}x{height} pixels; at most {MOST_PIXELS / 1e6:.0f} million, and "
                f"{MOST_SIDE} a side, are read: make it smaller"
            )
        self.video.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # frames can grow later on
        # Threads that decode several frames at once hold several: of 8K another 0.2 GB.
        self.video.thread_type = "AUTO" if self.at_once(LOOKAHEAD) == LOOKAHEAD else "SLICE"
        self.audio = next((stream for stream in every if isinstance(stream, AudioStream)), None)
        self.damaged = 0
        """Packets that could not be decoded; what they held is left out."""
        self._marked_packets = self._marked_frames = 0
        self.broken: str | None = None
        """Why the file ended before its end."""

    def close(self) -> None:
        """Close the file or give the webcam back."""
        self.container.close()

    @property
    def rate(self) -> Fraction:
        """Frames per second, on the average."""
        return self.video.average_rate or self.video.guessed_rate or USUAL_RATE

    @property
    def marked(self) -> int:
        """Frames, at least, that were read although FFmpeg takes them for damaged: some bytes lack or are wrong."""
        return max(self._marked_packets, self._marked_frames)  # a packet's mark may be its frame's too, or not

    def at_once(self, most: int) -> int:
        """Return how many decoded frames may be held together: at most so many, fewer if they are large."""
        return frames_at_once(self.video.width * self.video.height, most)

    @property
    def length(self) -> float | None:
        """Seconds, if the file says so."""
        if self.live:
            return None
        if self.video.duration and self.video.time_base:
            return float(self.video.duration * self.video.time_base)
        return self.container.duration / av.time_base if self.container.duration else None

    def frames(self, sound: bool = False) -> Iterator[VideoFrame | Packet]:
        """Yield the frames, and with `sound` the packets of sound between them, undecoded."""
        number, last = 0, -float("inf")
        begin = (self.container.start_time or 0) / av.time_base  # recordings of broadcasts begin at any hour
        size: tuple[int, int] | None = None
        mirrored = False
        for packet in self._packets(sound):
            if packet.stream.type == "audio":
                if packet.dts is not None and packet.pts is not None and packet.time_base:
                    shift = round(begin / packet.time_base)
                    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                    yield packet
                continue
            for frame in self._frames(packet):
                step = float(1 / self.rate)
                second = frame.time - begin if frame.time is not None else number * step
                # A break in the numbering must not send time backwards.
                last = second if second > last else last + step
                if size is None:
                    size = _square(frame.width, frame.height, self.video.sample_aspect_ratio)
                    # Of the first frame alone: PyAV's frames that were asked are in a reference cycle, and freed late.
                    mirrored = _is_mirrored(frame)
                yield VideoFrame(number, last, _upright(frame, size, mirrored))
                number += 1

    def _packets(self, sound: bool) -> Iterator[Packet]:
        streams = [self.video, self.audio] if sound and self.audio is not None else [self.video]
        packets = self.container.demux(*streams)
        waited = 0
        while True:
            try:
                yield next(packets)
                waited = 0
            except StopIteration:
                self.broken = None if self.live else _cut_short(Path(self.source))
                return
            except av.error.BlockingIOError:  # a webcam without a new frame
                waited += 1
                if waited > PATIENCE:
                    self.broken = "it gives no more frames"
                    return
                time.sleep(PAUSE)
                packets = self.container.demux(*streams)  # a generator that has raised has ended
            except (av.error.FFmpegError, OSError) as problem:
                self.broken = _reason(problem)
                return

    def _frames(self, packet: Packet) -> list[AVFrame]:
        try:
            frames = [frame for frame in packet.decode() if isinstance(frame, AVFrame)]
        except (av.error.FFmpegError, ValueError):
            self.damaged += 1
            return []
        self._marked_packets += packet.is_corrupt
        self._marked_frames += sum(frame.is_corrupt for frame in frames)
        return frames


def frames_at_once(pixels: int, most: int) -> int:
    """Return how many frames of so many pixels may wait in one place: at most `most`, fewer if they are large."""
    return max(1, min(most, MOST_WAITING // (3 * max(pixels, 1))))


def _open_file(source: str) -> InputContainer:
    path = Path(source)
    if not path.exists():
        what = "is an address: download it first" if is_address(source) else "is not there"
        hint = f"; a webcam goes by {WEBCAM}:{source}" if source.isdecimal() else ""
        raise InputError(f"{source} {what}{hint}")
    if path.is_dir():
        raise InputError(f"{source} is a folder; `pfvit video` takes one video, `pfvit predict` folders of pictures")
    try:
        container = _opened(path)
    except (av.error.FFmpegError, OSError, ValueError) as problem:
        also = (
            "text is no film, and a list of other files has to be joined with FFmpeg first"
            if isinstance(problem, av.error.ArgumentError)
            else _cut_short(path)
        )
        why = _reason(problem) + (f"; {also}" if also else "")
        raise InputError(f"{source} cannot be read as a video: {why}") from problem
    if _is_picture(path, container):
        container.close()
        raise InputError(f"{source} is a picture, not a video: `pfvit predict` reads it")
    return container


def _opened(path: Path) -> InputContainer:
    """Open a file and no other. Without a protocol FFmpeg would take `http:/host/film.mp4`, a file in a folder, for an
    address."""
    allowed = ",".join(sorted(av.formats_available - NO_FILMS))
    return av.open(f"file:{path}", metadata_errors="replace", options={"format_whitelist": allowed})


def _is_picture(path: Path, container: InputContainer) -> bool:
    """Return whether a file holds one picture. FFmpeg opens those as videos of one frame."""
    if container.format.name == "image2":
        return True
    if container.format.name.endswith("_pipe"):  # a picture, or several one after the other: motion JPEG
        with _opened(path) as again:
            return len(list(islice((packet for packet in again.demux(video=0) if packet.size), 2))) < 2
    with path.open("rb") as file:
        return container.duration is None and kind_of(file.read(HEAD)) in ("AVIF", "HEIF")


def _cut_short(path: Path) -> str | None:
    """Return what to say of a file that lacks a part of the bytes that it says it has; None if it does not, or does not
    say. Lengths in seconds and numbers of frames prove nothing: sound may go on, and frames may be long or be cut."""
    if not path.is_file():  # a pipe has no size
        return None
    there = path.stat().st_size
    if not there:
        return "the file is empty"
    with path.open("rb") as file:
        said = _said_size(file, there)
    if there > said * (1 - MAY_LACK):
        return None
    return f"the file should have {said:,} bytes and has {there:,}: copy or download it again"


def _said_size(file: BinaryIO, there: int) -> int:
    """Return how many bytes an AVI, Matroska, WebM, MP4 or MOV file says it has; 0 if that is not known."""
    head = file.read(16)
    if head.startswith(b"RIFF"):  # AVI
        size = int.from_bytes(head[4:8], "little")
        return size + 8 if size < UNKNOWN_SIZE else 0
    if head.startswith(b"\x1a\x45\xdf\xa3"):  # Matroska: a first element, and a segment with all the rest
        begin = _element_size(head)
        file.seek(begin)
        head = file.read(16)
        segment = _element_size(head) if head.startswith(b"\x18\x53\x80\x67") else 0
        return begin + segment if segment else 0
    begin = 0
    for _ in range(MOST_BOXES):  # MP4
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        size = int.from_bytes(head[8:16], "big") if size == 1 else size
        if size < 8:
            break
        begin += size
        if begin > there:
            return begin if kind in (b"mdat", b"moof") else 0  # what follows the last box is often none
        file.seek(begin)
        head = file.read(16)
    return 0


def _element_size(head: bytes) -> int:
    """Return the bytes of a Matroska element whose name has four; 0 if they are not known."""
    if len(head) < 12 or not head[4]:
        return 0
    width = 9 - head[4].bit_length()  # bytes of the number, which the zeros before its first bit say
    size = int.from_bytes(head[4 : 4 + width], "big") - (1 << 7 * width)
    return 4 + width + size if size < (1 << 7 * width) - 1 else 0


def _open_webcam(source: str) -> InputContainer:
    which = source.partition(":")[2] or "0"
    if sys.platform == "linux":
        form, name = "v4l2", f"/dev/video{which}" if which.isdigit() else which
    elif sys.platform == "darwin":
        form, name = "avfoundation", which
    elif which.isdigit():
        raise InputError("on Windows a webcam goes by its name, as the Device Manager has it: webcam:NAME")
    else:
        form, name = "dshow", f"video={which}"
    try:
        return av.open(name, format=form)
    except (av.error.FFmpegError, OSError, ValueError) as problem:
        raise InputError(f"there is no webcam {name}: {_reason(problem)}") from problem


def _upright(frame: AVFrame, size: tuple[int, int], mirrored: bool) -> Pixels:
    # A film whose frames change their size keeps the size of the first: what is written has one size.
    shown = frame.reformat(*size, format="rgb24")
    image = cast(Pixels, shown.to_ndarray())  # a view of the frame
    image = image.copy() if shown is frame else image  # a decoder may need the pixels of its own frame again
    quarters = round(getattr(frame, "rotation", 0) / 90) % 4  # counter-clockwise, as np.rot90 turns
    image = image[::-1] if mirrored else image
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else np.ascontiguousarray(image)


def _is_mirrored(frame: AVFrame) -> bool:
    """Return whether a film is to be shown mirrored, which its angle does not say (that is of the rows alone)."""
    for data in getattr(frame, "side_data", ()):
        if data.type.name == "DISPLAYMATRIX":
            across_x, across_y, _, down_x, down_y = np.frombuffer(bytes(data), np.int32)[:5].astype(np.int64)
            return bool(across_x * down_y < across_y * down_x)
    return False


def _square(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Return the size at which pixels of this aspect (width by height) are square; the longer side of one grows."""
    if not aspect or aspect == 1:
        return width, height
    square = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    return (width, height) if _too_large(*square) else square  # nobody films so


def _too_large(width: int, height: int) -> bool:
    return width * height > MOST_PIXELS or max(width, height) > MOST_SIDE


def _kinds(container: InputContainer) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"


def _reason(problem: Exception) -> str:
    return str(getattr(problem, "strerror", None) or problem)
