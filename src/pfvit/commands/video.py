"""`pfvit video`: faces followed through a video, as a table, an annotated video, a timeline and a video of poker faces.

Frames stream through: memory does not grow with the length. Faces are looked for every few frames; between two looks
they are placed on the straight way from one to the next, so that a box never lags behind its face.
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
from pfvit.commands.result_table import Table
from pfvit.config import Video
from pfvit.detection.base import Face
from pfvit.errors import InputError
from pfvit.inference.reader import Reader, crop_faces
from pfvit.inference.reading import Reading
from pfvit.rendering import labelled, name_of
from pfvit.utils.console import progress_bar, say
from pfvit.utils.prefetch import prefetch
from pfvit.video.io import Film, FilmWriter, Shot, suffix_for
from pfvit.video.timeline import COLOURS, Timeline
from pfvit.video.tracking import People, between

COLUMNS = {
    "frame": "int64", "time": "float64", "person": "int32", "left": "int32", "top": "int32", "width": "int32",
    "height": "int32", "score": "float32", "emotion": "utf8", "unsure": "bool", "entropy": "float32",
}  # fmt: skip
#: Frames decoded in a thread while the model works.
DECODED_AHEAD = 4


class Seen(NamedTuple):
    """A frame and the faces in it, with their persons' numbers."""

    shot: Shot
    faces: list[Face]
    numbers: list[int]


def video(config: Video) -> int:
    """Read a whole video and write what was asked for; return the exit status."""
    film = Film(config.path)
    with ExitStack() as closing:
        closing.callback(film.close)
        reader = Reader(config.weights, threads=config.threads, providers=(config.provider,))
        if config.poker:
            _ = reader.artist.generator  # a missing one should be known before the first frame
        return Work(config, film, reader, closing).run()


class Work:
    """One video on its way through."""

    def __init__(self, config: Video, film: Film, reader: Reader, closing: ExitStack):
        self.config, self.film, self.reader = config, film, reader
        self.people = People(config.smoothing)
        self.timeline = Timeline(reader.recogniser.labels)
        folder = make_folder(config.out)
        stem = "webcam" if film.live else stem_of(config.path)
        ending = suffix_for(film.audio)
        self.names = {"table": folder / f"{stem}.{config.table}", "timeline": folder / f"{stem}-timeline.png"}
        if config.annotate:
            self.names["annotated"] = folder / f"{stem}-annotated{ending}"
        if config.poker:
            self.names["poker"] = folder / f"{stem}-poker{ending}"
        for path in self.names.values():
            if path.exists():
                raise InputError(f"{path} exists already; choose another --out, or move it away")
        columns = COLUMNS | dict.fromkeys(reader.recogniser.labels, "float32")
        self.table = closing.enter_context(Table(self.names["table"], columns))
        self.closing = closing
        self.writers: dict[str, FilmWriter] = {}
        self.frames = 0
        self.stopped = False

    def run(self) -> int:
        """Read, write, and say what came of it."""
        began = time.monotonic()
        try:
            self._read_all(began)
            if not self.frames:
                raise InputError(f"{self.config.path} holds no frame that can be decoded")
            self._finish()
        except BaseException:
            self._drop()
            raise
        return self._report(time.monotonic() - began)

    def _read_all(self, began: float) -> None:
        """Read to the end, or until someone stops it."""
        try:
            with progress_bar(TextColumn("{task.fields[said]}")) as progress:
                task = progress.add_task("reading", total=self.film.length, said="")
                for seen in self._followed():
                    self._read(seen)
                    pace = self.frames / (time.monotonic() - began)
                    progress.update(task, completed=seen[-1].shot.time, said=f"{pace:.0f} frames/s")
        except KeyboardInterrupt:
            self.stopped = True

    def _followed(self) -> Iterator[list[Seen]]:
        """Yield runs of frames with the faces in them, from one look to the next."""
        before: Seen | None = None  # the first frame of all is looked at, so none waits for a look before it
        waiting: list[Shot] = []
        for shot in self._shots():
            waiting.append(shot)
            if shot.number % self.config.every == 0:
                now = self._look(shot)
                yield self._filled(before or now, now, waiting[:-1])
                before, waiting = now, []
        if waiting and before:
            yield self._filled(before, self._look(waiting[-1]), waiting[:-1])

    def _shots(self) -> Iterator[Shot]:
        keeps_sound = self.film.audio is not None and (self.config.annotate or self.config.poker)
        items = self.film.shots(sound=keeps_sound)
        early: list[Packet] = []  # sound that comes before the first frame, which tells the size to write
        for item in items if self.film.live else prefetch(items, DECODED_AHEAD):
            if isinstance(item, Shot):
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

    def _look(self, shot: Shot) -> Seen:
        faces = [face for face in self.reader.detector.detect(shot.image) if face.score >= self.config.min_score]
        return Seen(shot, faces, self.people.who(faces, shot.time))

    def _filled(self, before: Seen, now: Seen, shots: list[Shot]) -> list[Seen]:
        """Place the faces in the frames between two looks; one that only one look saw is there up to the middle."""
        seen = []
        for shot in shots:
            share = (shot.time - before.shot.time) / (now.shot.time - before.shot.time)
            near = before if share < 0.5 else now
            others = (
                dict(zip(before.numbers, before.faces, strict=True)),
                dict(zip(now.numbers, now.faces, strict=True)),
            )
            placed = {
                number: between(others[0][number], others[1][number], share)
                if number in others[0] and number in others[1]
                else face
                for number, face in [*others[0].items(), *others[1].items()]
                if number in near.numbers
            }
            seen.append(Seen(shot, list(placed.values()), list(placed)))
        return [*seen, now]

    def _read(self, seen: list[Seen]) -> None:
        found = [crop_faces(shot.image, faces) for shot, faces, _ in seen]
        read = self.reader.read_found(found, [self.config.path] * len(seen))
        if self.config.poker:
            self._draw([reading for faces in read for reading in faces])
        for (shot, _, numbers), faces in zip(seen, read, strict=True):
            self._write(shot, [self._smooth(face, number, shot) for face, number in zip(faces, numbers, strict=True)])

    def _smooth(self, reading: Reading, number: int, shot: Shot) -> Reading:
        labels = self.reader.recogniser.labels
        shares = self.people.smooth(number, np.array(list(reading.probabilities.values())), shot.time)
        self.timeline.add(number, shot.time, shares, reading.crop)
        named = dict(zip(labels, shares.tolist(), strict=True))
        return replace(reading, face=number, emotion=labels[int(shares.argmax())], probabilities=named)

    def _draw(self, readings: list[Reading]) -> None:
        """Draw many faces at once: that is faster than each by itself when it is asked for."""
        if not readings or self.config.strength == 0:
            return
        parts = self.reader.artist.components([reading.crop for reading in readings])
        emotion, residue = map(np.stack, zip(*parts, strict=True))
        for strength in (0.0, float(self.config.strength)):
            drawn = self.reader.artist.draw(emotion, residue, strength)
            for reading, face in zip(readings, drawn, strict=True):
                reading.drawings[strength] = face

    def _write(self, shot: Shot, faces: list[Reading]) -> None:
        self.frames += 1
        self.table.write([row(shot, face) for face in faces])
        if "annotated" in self.writers:
            boxes = [(f.box, f"{f.face} {name_of(f)}", COLOURS[1 + f.face % (len(COLOURS) - 1)]) for f in faces]
            self.writers["annotated"].show(np.asarray(labelled(shot.image, boxes)), shot.time)
        if "poker" in self.writers:
            image = shot.image
            for face in faces:
                image = face.put_back(image, self.config.strength)
            self.writers["poker"].show(image, shot.time)

    def _open_writers(self, shot: Shot) -> None:
        if self.writers:
            return
        height, width = shot.image.shape[:2]
        for kind in ("annotated", "poker"):
            if kind in self.names:
                writer = FilmWriter(self.names[kind], self.film.rate, (width, height), self.film.audio)
                self.writers[kind] = writer

    def _finish(self) -> None:
        for writer in self.writers.values():
            writer.finish()
        save(self.timeline.draw(f"{stem_of(self.config.path)}: what each face shows"), self.names["timeline"])
        self.table.finish()

    def _drop(self) -> None:
        for writer in self.writers.values():
            writer.discard()
        self.table.drop()

    def _report(self, took: float) -> int:
        film = self.film
        if film.damaged:
            say(f"{self.config.path}: {film.damaged} damaged packets were left out")
        if film.broken:
            say(f"{self.config.path}: it breaks off ({film.broken}); what came before is read")
        if self.stopped:
            say("stopped; what was read until then is written")
        persons = f"{self.people.count} {'person' if self.people.count == 1 else 'persons'}"
        say(f"{self.frames} frames, {persons}, {self.frames / took:.0f} frames/s")
        for path in self.names.values():
            say(f"{path} is written")
        if self.stopped and not film.live:
            return 130
        return 1 if film.damaged or (film.broken and not film.live) else 0


def row(shot: Shot, face: Reading) -> dict[str, object]:
    """Return a row of the table."""
    told = face.to_dict()
    kept = {name: told[name] for name in ("box", "score", "emotion", "unsure", "entropy", "probabilities")}
    return {"frame": shot.number, "time": round(shot.time, 4), "person": face.face, **kept}
