"""`pfvit video`: faces followed through a video, as a table, an annotated video, a timeline and a video of poker faces.

Frames stream through (`pfvit.inference.tracked_frames`), so memory does not grow with the length.
"""

import time
from contextlib import ExitStack
from functools import partial

import numpy as np
from av.packet import Packet
from rich.progress import TextColumn

from pfvit.commands.output_files import make_folder, save, stem_of
from pfvit.commands.result_table import AFFECT, OF_A_FACE, Table, unfinished_table
from pfvit.config import Video
from pfvit.data.images import Pixels
from pfvit.errors import InputError, UsageError
from pfvit.inference.reader import Reader
from pfvit.inference.reading import Reading, prepare
from pfvit.inference.steady import SteadyMovement
from pfvit.inference.tracked_frames import TrackedFrame, TrackedFrames
from pfvit.rendering import labelled, name_of
from pfvit.utils.console import progress_bar, say
from pfvit.utils.cores import cores
from pfvit.utils.files import remove, unfinished
from pfvit.utils.text import counted
from pfvit.video.baseline import Baseline
from pfvit.video.io import VideoFrame, VideoReader, is_live
from pfvit.video.timeline import COLOURS, Timeline
from pfvit.video.writer import ENDINGS, VideoWriter, suffix_for

COLUMNS = {"frame": "int64", "time": "float64", "person": "int32", **OF_A_FACE}


def video(config: Video) -> int:
    """Read a whole video and write what was asked for; return the exit status."""
    if config.baseline and is_live(config.path):
        raise UsageError("--baseline reads the video twice, which a webcam cannot be: record it first")
    source = VideoReader(config.path)
    with ExitStack() as closing:
        closing.callback(source.close)
        # Poker faces are put into frames by a thread of their own. The model's threads, if there is one for each core,
        # wait for each other where they meet it.
        threads = config.threads or (max(1, cores() - 1) if config.poker else None)
        reader = Reader(config.weights, threads=threads, providers=(config.provider,), look=config.look)
        if config.poker:
            reader.generator.check()  # a missing file should be known before the first frame
        run = VideoRun(config, source, reader, closing)
        if config.baseline:
            run.baseline = measured_baseline(config, reader)
        return run.run()


def tracked_frames(config: Video, source: VideoReader, reader: Reader) -> TrackedFrames:
    """Return the frames with the faces in them, as the command line asks for them."""
    return TrackedFrames(source, reader, config.smoothing, config.every, config.min_score, config.seconds)


def measured_baseline(config: Video, reader: Reader) -> Baseline:
    """Read the whole video for the sake of everyone's calmest frames."""
    labels = reader.recogniser.labels
    baseline = Baseline(labels)
    source = VideoReader(config.path)
    try:
        frames = tracked_frames(config, source, reader)
        with progress_bar() as progress:
            task = progress.add_task("looking for calm frames", total=source.length)
            for run in frames.runs():
                for (frame, _, persons), faces in zip(run, frames.read(run), strict=True):
                    for reading, person in zip(faces, persons, strict=True):
                        baseline.add(person, np.array(list(reading.probabilities.values())))
                    progress.update(task, completed=frame.time)
    finally:
        source.close()
    return baseline


class VideoRun:
    """One video, read from its beginning to its end, and the files that are written meanwhile."""

    def __init__(self, config: Video, source: VideoReader, reader: Reader, closing: ExitStack):
        self.config, self.source, self.reader = config, source, reader
        self.tracked = tracked_frames(config, source, reader)
        self.baseline: Baseline | None = None
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
        columns = COLUMNS | dict.fromkeys(reader.recogniser.labels, "float32") | (AFFECT if config.affect else {})
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
        spoilt = not self.source.live and (self.source.broken or self.source.marked)
        return 1 if self.source.damaged or spoilt else 0

    def _read_all(self, began: float) -> None:
        """Read to the end, or until someone stops it."""
        try:
            with progress_bar(TextColumn("{task.fields[rate]}")) as progress:
                task = progress.add_task("reading", total=self.source.length, rate="")
                keeps_sound = self.source.audio is not None and (self.config.annotate or self.config.poker)
                for tracked in self.tracked.runs(self._open_writers, self._sound if keeps_sound else None):
                    self._read(tracked)
                    rate = self.frames / (time.monotonic() - began)
                    progress.update(task, completed=tracked[-1].frame.time, rate=f"{rate:.0f} frames/s")
                    tracked.clear()  # frames may be large, and the next are gathered now
        except KeyboardInterrupt as stop:
            self.stopped = stop

    def _read(self, tracked: list[TrackedFrame]) -> None:
        """Read the faces of some frames together, and write the frames."""
        read = self.tracked.read(tracked)
        if self.config.poker:
            frames = [(one.frame.time, faces, one.persons) for one, faces in zip(tracked, read, strict=True)]
            self.steady.add(frames)
            prepare([face for faces in read for face in faces], self.config.strength)
        for (frame, _, persons), faces in zip(tracked, read, strict=True):
            pairs = zip(faces, persons, strict=True)
            self._write(frame, [self._smoothed(face, person, frame) for face, person in pairs])

    def _smoothed(self, reading: Reading, person: int, frame: VideoFrame) -> Reading:
        correct = None if self.baseline is None else partial(self.baseline.correct, person)
        told = self.tracked.smoothed(reading, person, frame.time, correct)
        self.timeline.add(person, frame.time, np.array(list(told.probabilities.values())), reading.crop)
        return told

    def _write(self, frame: VideoFrame, faces: list[Reading]) -> None:
        self.frames += 1
        self.table.write([row(frame, face, self.config.affect) for face in faces])
        if "annotated" in self.writers:
            boxes = [(f.box, f"{f.face} {name_of(f)}", COLOURS[1 + f.face % (len(COLOURS) - 1)]) for f in faces]
            self.writers["annotated"].show(lambda: np.asarray(labelled(frame.image, boxes)), frame.time)
        if "poker" in self.writers:
            self.writers["poker"].show(lambda: self._poker_faced(frame.image, faces), frame.time)

    def _poker_faced(self, image: Pixels, faces: list[Reading]) -> Pixels:
        """Return a frame with the expressions removed."""
        if not faces or self.config.strength == 0:
            return image
        image = image.copy() if "annotated" in self.writers else image  # which is drawn from the same frame
        for face in faces:
            face.paste_into(image, self.config.strength)
        return image

    def _open_writers(self, frame: VideoFrame) -> None:
        height, width = frame.image.shape[:2]
        for kind in ("annotated", "poker"):
            if kind in self.names:
                source, path = self.source, self.names[kind]
                self.writers[kind] = VideoWriter(path, source.rate, (width, height), source.audio, source.video)

    def _sound(self, packet: Packet) -> None:
        for writer in self.writers.values():
            writer.sound(packet)

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
            say(f"{self.config.path}: {counted(self.source.damaged, 'damaged packet', 'was', 'were')} left out")
        if self.source.marked:
            damaged = counted(self.source.marked, "damaged frame", "was", "were")
            say(f"{self.config.path}: {damaged} read all the same; look whether what is told of them is right")
        if self.source.broken:
            say(f"{self.config.path}: it breaks off ({self.source.broken}); what came before is read")
        if self.stopped is not None:
            say("what was read until then is written")
        count = self.tracked.tracker.count
        read = f"{counted(self.frames, 'frame')}, {counted(count, 'person')}"
        say(f"{read}, read at {self.frames / seconds:.0f} frames/s")
        if self.baseline is not None:
            without = [person for person in range(1, count + 1) if self.baseline.of(person) is None]
            if without:
                say(f"no baseline, as they are seen too shortly or never calm: person {', '.join(map(str, without))}")
        for path in self.names.values():
            say(f"{path} is written")


def row(frame: VideoFrame, face: Reading, affect: bool = False) -> dict[str, object]:
    """Return a row of the table."""
    fields = face.to_dict(affect=affect)
    names = ["box", "score", "emotion", "unsure", "entropy", "probabilities", *(AFFECT if affect else ())]
    kept = {name: fields[name] for name in names}
    return {"frame": frame.number, "time": round(frame.time, 4), "person": face.face, **kept}
