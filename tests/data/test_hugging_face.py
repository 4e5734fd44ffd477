"""Files that Hugging Face's `datasets` itself wrote; skipped where it is not installed."""

import pytest
from helpers import flat_png
from PIL import Image as Pictures

from pfvit.data.dataset import FaceDataset, read_all
from pfvit.data.labelled import Labelled
from pfvit.data.locate import HELD_OUT, TRAIN
from pfvit.emotions import EIGHT
from pfvit.errors import UsageError

datasets = pytest.importorskip("datasets")
if not hasattr(datasets, "Dataset"):  # a folder of tests has the same name
    pytest.skip("datasets is not installed: it is tried in an environment of its own", allow_module_level=True)
ALPHABET = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
SHOWN = [3, 0, 6, 4]
EXPECTED = ["happiness", "anger", "surprise", "neutral"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def dataset(label, values, first: int = 0):
    """Faces of brightness `first`, `first` + 1, ... with labels of a feature."""
    features = datasets.Features({"image": datasets.Image(), "label": label})
    pictures = [Pictures.new("L", (12, 12), first + row) for row in range(len(values))]
    return datasets.Dataset.from_dict({"image": pictures, "label": values}, features=features)


def shown(path, order=()) -> list[str]:
    faces = FaceDataset([path], order=order)
    read = read_all(faces, 12, 1)
    assert [int(image.float().mean()) for image in read.image] == list(range(len(read.image)))
    names = [faces.classes[k] for k in read.target.argmax(1)]
    assert [one.truth for one in Labelled([path], EIGHT, order, clean=True)] == names
    return names


@pytest.mark.parametrize("kind", ["ClassLabel", "text", "lists of classes", "shares", "numbers"])
def test_labels_of_each_feature(kind, tmp_path):
    label, values, order = {
        "ClassLabel": (datasets.ClassLabel(names=ALPHABET), SHOWN, ()),
        "text": (datasets.Value("string"), [ALPHABET[k] for k in SHOWN], ()),
        "lists of classes": (datasets.Sequence(datasets.ClassLabel(names=ALPHABET)), [[k] for k in SHOWN], ()),
        "shares": (datasets.Sequence(datasets.Value("float32")), [[float(k == n) for n in range(7)] for k in SHOWN],
                   tuple(ALPHABET)),
        "numbers": (datasets.Value("uint8"), SHOWN, tuple(ALPHABET)),
    }[kind]  # fmt: skip
    dataset(label, values).to_parquet(tmp_path / "f.parquet")
    assert shown(tmp_path / "f.parquet", order) == EXPECTED


def test_a_hub_s_folder_has_its_parts(tmp_path):
    for first, part in enumerate(("train", "validation", "test")):
        faces = dataset(datasets.ClassLabel(names=ALPHABET), SHOWN, 50 * first)
        (tmp_path / "data").mkdir(exist_ok=True)
        faces.to_parquet(tmp_path / "data" / f"{part}-00000-of-00001.parquet")
    for parts, first in ((TRAIN, 0), (HELD_OUT, 50)):
        read = read_all(FaceDataset([tmp_path], parts=parts), 12, 1)
        assert sorted(int(image.float().mean()) for image in read.image) == [first, first + 1, first + 2, first + 3]


def test_folders_that_it_counted_anew(tmp_path):
    """RAF-DB's class folders 1 to 7, read as an image folder: the numbers are 0 to 6, and 1 to 7 their names."""
    for name in range(1, 8):
        (tmp_path / "raf" / str(name)).mkdir(parents=True)
        (tmp_path / "raf" / str(name) / "a.png").write_bytes(flat_png(name - 1))
    faces = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "raf"), split="train")
    faces.to_parquet(tmp_path / "raf.parquet")
    with pytest.raises(UsageError, match="RAF-DB counts so"):
        FaceDataset([tmp_path / "raf.parquet"])
    names = shown(tmp_path / "raf.parquet", ("rafdb",))
    assert names == ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"]
