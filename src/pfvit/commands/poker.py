"""`pfvit poker`: remove the expression from every face, and write the faces or the photos."""

from pfvit.commands.image_inputs import Inputs
from pfvit.commands.output_files import Namer, make_folder, save
from pfvit.config import Poker
from pfvit.data.images import Metadata
from pfvit.inference.reader import Reader
from pfvit.utils.console import say

#: Faces whose change is trusted less are named.
SURE = 0.5


def poker(config: Poker) -> int:
    """Write one PNG per face (or per photo) into the folder, with `strength` of the expression removed."""
    inputs = Inputs(config.paths, leave_out=[config.out])
    reader = Reader(config.weights, threads=config.threads, providers=(config.provider,), look=config.look)
    # A generator that is missing should be known before the first picture is read.
    reader.generator.check()
    namer = Namer(make_folder(config.out), inputs, "photo" if config.in_photo else "face")
    for result in inputs.results(reader, config.whole):
        for reading in result.faces:
            if config.strength and reading.trust < SURE:
                why = "it may be turned away, covered or no face"
                say(f"{result.source}, face {reading.face}: hardly changed or not at all, as {why}")
        if config.in_photo and result.image is not None and result.faces:
            photo = result.image
            for reading in result.faces:
                photo = reading.paste_back(photo, config.strength)
            save(photo, namer.name(result.faces[0], numbered=False), result.metadata)
            continue
        for reading in result.faces:
            save(reading.poker_face(config.strength), namer.name(reading), Metadata(result.metadata.icc_profile))
    namer.report()
    return inputs.status
