"""`pfvit video`: faces followed through a video, as a table, an annotated video, a timeline and a video of poker faces.

Frames stream through, so memory does not grow with the length. Faces are detected in every few frames; in between they
are placed on the straight way from one detection to the next, so that a box never lags behind its face.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from av.packet import Packet
from rich.progress import TextColumn

from pfvit.commands.output_files import make_folder, save, stem_of
from pfvit.commands.result_table import OF_A_FACE, Table, unfinished_table
from pfvit.config import Video
from pfvit.detection.base import Face
from pfvit.errors import InputError
from pfvit.inference.reader import Reader, crop_faces
from pfvit.inference.reading import Reading, prepare
from pfvit.inference.steady import SteadyMovement
from pfvit.rendering import labelled, name_of
from pfvit.utils.console import progress_bar, say
from pfvit.utils.files import remove, unfinished
from pfvit.utils.prefetch import prefetch
from pfvit.video.io import ENDINGS, VideoFrame, VideoReader, VideoWriter, suffix_for
from pfvit.video.timeline import COLOURS, Timeline
from pfvit.video.tracking import Tracker, between

COLUMNS = {"frame": "int64", "time": "float64", "person": "int32", **OF_A_FACE}
#: Frames decoded in a thread while the model works.
DECODED_AHEAD = 4
#: Bytes of frames that wait for the next detection at most: with a large --every it comes earlier than asked for.
WAITING = 256_000_000


class TrackedFrame(NamedTuple):
    """A frame, the faces in it, and the number of each face's person."""

    frame: VideoFrame
    faces: list[Face]
    persons: list[int]


def video(config: Video) -> int:
    """Read a whole video and write what was asked for; return the exit status."""
    source = VideoReader(config.path)
    with ExitStack() as closing:
        closing.callback(source.close)
        reader = Reader(config.weights, threads=config.threads, providers=(config.provider,), look=config.look)
        if config.poker:
            reader.generator.check()  # a missing file should be known before the first frame
        return VideoRun(config, source, reader, closing).run()


class VideoRun:
    """One video, read from its beginning to its end, and the files that are written meanwhile."""

    def __init__(self, config: Video, source: VideoReader, reader: Reader, closing: ExitStack):
        self.config, self.source, self.reader = config, source, reader
        self.tracker = Tracker(config.smoothing)
        self.steady = SteadyMovement()
        self.timeline = Timeline(reader.recogniser.labels)
        folder = make_folder(config.out)
        stem = "webcam" if source.live else stem_of(config.path)
        ending = suffix_for(source.audio)
        self.names = {"table": folder / f"{stem}.{config.table}", "timeline": folder / f"{stem}-timeline.png"}
        if config.annotate:
            self.names["annotated"] = folder / f"{stem}-annotated{ending}"
        if config.poker:
            self.names["poker"] = folder / f"{stem}-poker{ending}"
        for path in self.names.values():
            if path.exists():
                raise InputError(f"{path} exists already; choose another --out, or move it away")
        columns = COLUMNS | dict.fromkeys(reader.recogniser.labels, "float32")
        # Half a film cannot be gone on with. No other process writes these while this one has the table.
        halves = [unfinished(folder / f"{stem}-{kind}{end}") for kind in ("annotated", "poker") for end in ENDINGS]
        begun = any(path.exists() for path in (*halves, unfinished_table(self.names["table"])))
        self.table = closing.enter_context(Table(self.names["table"], columns))
        for path in halves:
            remove(path)
        if begun:
            say(f"{folder} has what a run left that was killed: it is begun anew")
        self.writers: dict[str, VideoWriter] = {}
        self.frames = 0
        self.stopped: KeyboardInterrupt | None = None

    def run(self) -> int:
        """Read, write, and say what came of it; return the exit status."""
        began = time.monotonic()
        try:
            self._read_all(began)
            if not self.frames:
                if self.stopped is not None:
                    raise self.stopped
                raise InputError(f"{self.config.path} holds no frame that can be decoded")
            self._finish()
        except BaseException:
            self._discard()
            raise
        self._report(time.monotonic() - began)
        if self.stopped is not None and not self.source.live:
            raise self.stopped
        return 1 if self.source.damaged or (self.source.broken and not self.source.live) else 0

    def _read_all(self, began: float) -> None:
        """Read to the end, or until someone stops it."""
        try:
            with progress_bar(TextColumn("{task.fields[rate]}")) as progress:
                task = progress.add_task("reading", total=self.source.length, rate="")
                for tracked in self._tracked():
                    self._read(tracked)
                    rate = self.frames / (time.monotonic() - began)
                    progress.update(task, completed=tracked[-1].frame.time, rate=f"{rate:.0f} frames/s")
        except KeyboardInterrupt as stop:
            self.stopped = stop

    def _tracked(self) -> Iterator[list[TrackedFrame]]:
        """Yield the frames with the faces in them, in runs that end with a detection."""
        before: TrackedFrame | None = None  # faces are detected in the first frame, so none comes before a detection
        waiting: list[VideoFrame] = []
        size = 0
        for frame in self._frames():
            waiting.append(frame)
            size += frame.image.nbytes
            if frame.number % self.config.every == 0 or size > WAITING:
                now = self._detect(frame)
                yield self._filled(before or now, now, waiting[:-1])
                before, waiting, size = now, [], 0
        if waiting and before:
            yield self._filled(before, self._detect(waiting[-1]), waiting[:-1])

    def _frames(self) -> Iterator[VideoFrame]:
        """Yield the frames, and hand the sound between them to the writers."""
        keeps_sound = self.source.audio is not None and (self.config.annotate or self.config.poker)
        items = self.source.frames(sound=keeps_sound)
        early: list[Packet] = []  # sound before the first frame: what is written needs that frame's size first
        for item in items if self.source.live else prefetch(items, DECODED_AHEAD):
            if isinstance(item, VideoFrame):
                if self.config.seconds is not None and item.time >= self.config.seconds:
                    return
                self._open_writers(item)
                yield item
            else:
                early.append(item)
            if self.writers:
                for packet in early:
                    for writer in self.writers.values():
                        writer.sound(packet)
                early.clear()

    def _detect(self, frame: VideoFrame) -> TrackedFrame:
        faces = [face for face in self.reader.detector.detect(frame.image) if face.score >= self.config.min_score]
        return TrackedFrame(frame, faces, self.tracker.assign(faces, frame.time))

    def _filled(self, before: TrackedFrame, now: TrackedFrame, frames: list[VideoFrame]) -> list[TrackedFrame]:
        """Place faces in the frames between two detections; a face of one alone is placed in the nearer half."""
        tracked = []
        first = dict(zip(before.persons, before.faces, strict=True))
        second = dict(zip(now.persons, now.faces, strict=True))
        for frame in frames:
            share = (frame.time - before.frame.time) / (now.frame.time - before.frame.time)
            nearer = first if share < 0.5 else second
            placed = {
                person: between(first[person], second[person], share) if person in first and person in second else face
                for person, face in [*first.items(), *second.items()]
                if person in nearer
            }
            tracked.append(TrackedFrame(frame, list(placed.values()), list(placed)))
        return [*tracked, now]

    def _read(self, tracked: list[TrackedFrame]) -> None:
        """Read the faces of some frames together, and write the frames."""
        found = [crop_faces(one.frame.image, one.faces) for one in tracked]
        read = self.reader.read_found(found, [self.config.path] * len(tracked))
        if self.config.poker:
            frames = [(one.frame.time, faces, one.persons) for one, faces in zip(tracked, read, strict=True)]
            self.steady.add(frames)
            prepare([face for faces in read for face in faces], self.config.strength)
        for (frame, _, persons), faces in zip(tracked, read, strict=True):
            pairs = zip(faces, persons, strict=True)
            self._write(frame, [self._smoothed(face, person, frame) for face, person in pairs])

    def _smoothed(self, reading: Reading, person: int, frame: VideoFrame) -> Reading:
        labels = self.reader.recogniser.labels
        shares = self.tracker.smooth(person, np.array(list(reading.probabilities.values())), frame.time)
        self.timeline.add(person, frame.time, shares, reading.crop)
        named = dict(zip(labels, shares.tolist(), strict=True))
        return replace(reading, face=person, emotion=labels[int(shares.argmax())], probabilities=named)

    def _write(self, frame: VideoFrame, faces: list[Reading]) -> None:
        self.frames += 1
        self.table.write([row(frame, face) for face in faces])
        if "annotated" in self.writers:
            boxes = [(f.box, f"{f.face} {name_of(f)}", COLOURS[1 + f.face % (len(COLOURS) - 1)]) for f in faces]
            self.writers["annotated"].show(np.asarray(labelled(frame.image, boxes)), frame.time)
        if "poker" in self.writers:
            image = frame.image
            for face in faces:
                image = face.paste_back(image, self.config.strength)
            self.writers["poker"].show(image, frame.time)

    def _open_writers(self, frame: VideoFrame) -> None:
        if self.writers:
            return
        height, width = frame.image.shape[:2]
        for kind in ("annotated", "poker"):
            if kind in self.names:
                writer = VideoWriter(self.names[kind], self.source.rate, (width, height), self.source.audio)
                self.writers[kind] = writer

    def _finish(self) -> None:
        for writer in self.writers.values():
            writer.finish()
        save(self.timeline.draw(f"{stem_of(self.config.path)}: what each face shows"), self.names["timeline"])
        self.table.finish()

    def _discard(self) -> None:
        for writer in self.writers.values():
            writer.discard()
        self.table.discard()

    def _report(self, seconds: float) -> None:
        if self.source.damaged:
            say(f"{self.config.path}: {self.source.damaged} damaged packets were left out")
        if self.source.broken:
            say(f"{self.config.path}: it breaks off ({self.source.broken}); what came before is read")
        if self.stopped is not None:
            say("what was read until then is written")
        count = self.tracker.count
        persons = f"{count} {'person' if count == 1 else 'persons'}"
        say(f"{self.frames} frames, {persons}, {self.frames / seconds:.0f} frames/s")
        for path in self.names.values():
            say(f"{path} is written")


def row(frame: VideoFrame, face: Reading) -> dict[str, object]:
    """Return a row of the table."""
    fields = face.to_dict()
    kept = {name: fields[name] for name in ("box", "score", "emotion", "unsure", "entropy", "probabilities")}
    return {"frame": frame.number, "time": round(frame.time, 4), "person": face.face, **kept}
