"""`pfvit prepare` on miniature copies of every official layout, with all that can be wrong in them."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import layouts
import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import SHARED
from PIL import Image

from pfvit.__main__ import main
from pfvit.config import Prepare
from pfvit.data.dataset import FaceDataset, read_all
from pfvit.data.labelled import Labelled
from pfvit.data.locate import locate
from pfvit.datasets import SETS, Bad
from pfvit.datasets.crop import sharpness
from pfvit.datasets.manifest import digest, lines
from pfvit.emotions import EIGHT, SEVEN
from pfvit.errors import InputError
from pfvit.utils.cores import cores

PHOTO = Path(__file__).parents[2] / "assets" / "astronaut.jpg"


def prepare(*words: object) -> int:
    return main(["prepare", *map(str, words), "--jobs", "1"])


def rows(out: Path, split: str) -> list[dict]:
    return [row for file in sorted(out.glob(f"{split}-*.parquet")) for row in pq.read_table(file).to_pylist()]


def bad(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "bad.jsonl").read_text().splitlines()]


def manifest(out: Path) -> dict:
    return json.loads((out / "manifest.json").read_text())


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def photo() -> np.ndarray:
    return np.asarray(Image.open(PHOTO).convert("RGB"))


def test_rafdb(tmp_path, out, capsys):
    source = layouts.rafdb(tmp_path / "basic")
    assert prepare("rafdb", source, out) == 0
    said = capsys.readouterr().err
    assert "Licence: Non-commercial research only" in said
    assert "train: 14 faces, published 12,271" in said and "test: 7 faces, published 3,068" in said
    assert "train: surprise 2, published 1,290" in said and "and 11 more numbers" in said
    train, test = rows(out, "train"), rows(out, "test")
    assert (len(train), len(test)) == (14, 7)
    # Label 1 is surprise, which is 2 with us; 7 is neutral, our 0.
    assert [row["emotion"] for row in train[:7]] == list(layouts.ORDERS["rafdb"])
    assert all(EIGHT[row["label"]] == row["emotion"] for row in train + test)
    assert train[0]["source_label"] == "1" and train[0]["name"] == "train_00001_aligned.jpg"
    original = source / "Image" / "aligned" / "train_00001_aligned.jpg"
    assert train[0]["image"]["bytes"] == original.read_bytes(), "official crops are kept as they are"
    told = manifest(out)
    assert told["emotions"] == list(SEVEN) and told["labels"]["7"] == "neutral"
    assert told["splits"]["train"]["files"][0]["sha256"] == digest(out / "train-00000.parquet")
    assert not (out / ".parts").exists()


def test_what_it_writes_is_read_by_training_and_evaluation_whatever_the_order(tmp_path, out):
    prepare("rafdb", layouts.rafdb(tmp_path / "basic"), out)
    file = out / "train-00000.parquet"
    faces = FaceDataset([file], classes=7)
    batch = read_all(faces, 48, 3)
    assert [SEVEN[i] for i in batch.target.argmax(1)[:7]] == list(layouts.ORDERS["rafdb"])
    assert not any("taken from its column" in line for line in faces.index.lines()), "its columns do not contradict"
    samples = Labelled([file], EIGHT, "ferplus", clean=True)
    assert [sample.truth for sample in samples][:7] == list(layouts.ORDERS["rafdb"])
    assert samples.classes == set(SEVEN), "that contempt is not told apart is in the file"
    again = read_all(FaceDataset([file], classes=7, order=("rafdb",)), 48, 3)
    assert again.target.equal(batch.target), "--order is for files that do not say what their labels mean"
    assert [s.truth for s in Labelled([file], EIGHT, ("rafdb",), clean=True)] == [s.truth for s in samples]


def test_the_base_install_is_enough(tmp_path, out):
    source = layouts.rafdb(tmp_path / "basic")
    code = (
        "import sys\nfor name in ('torch', 'pyarrow', 'jaxtyping', 'safetensors'): sys.modules[name] = None\n"
        "from pathlib import Path\nfrom pfvit.config import Prepare\nfrom pfvit.datasets.pipeline import prepare\n"
        f"prepare(Prepare('rafdb', Path({str(source)!r}), Path({str(out)!r}), jobs=1))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(rows(out, "train")) == 14


def test_bad_rows_of_rafdb_are_set_aside_with_file_row_and_remedy(tmp_path, out, capsys):
    source = layouts.rafdb(tmp_path / "basic")
    with (source / "EmoLabel" / "list_patition_label.txt").open("a") as file:
        file.write("train_00099.jpg 3\ntrain_00001.jpg 8\ntrain_00001.jpg 1\ntrain_00002.jpg 7\nwhat is this\n")
    (source / "Image" / "aligned" / "test_00003_aligned.jpg").write_bytes(b"no picture")
    assert prepare("rafdb", source, out) == 1
    found = {(row["file"], row["row"]): row["reason"] for row in bad(out)}
    lst = "list_patition_label.txt"
    assert "labels are 1 to 7, not '8'" in found[lst, 23]
    assert "train_00001.jpg is listed again; row 1 is kept, delete this one" in found[lst, 24]
    assert "'neutral' here and 'fear' in row 2" in found[lst, 25] and "correct one" in found[lst, 25]
    assert "is not a name like" in found[lst, 26]
    assert "train_00099_aligned.jpg is listed but absent; unpack" in found[lst, 22]
    assert "test_00003_aligned.jpg is not a picture" in found[lst, 17]
    assert len(found) == 6 and len(rows(out, "train")) == 14 and len(rows(out, "test")) == 6
    assert "6 rows were set aside, see bad.jsonl" in capsys.readouterr().err


def test_strict_stops_at_the_first_bad_row_and_at_other_counts(tmp_path, out, capsys):
    source = layouts.rafdb(tmp_path / "basic")
    assert prepare("rafdb", source, out, "--strict") == 1
    assert "--strict: train: 14 faces, published 12,271" in capsys.readouterr().err
    (source / "Image" / "aligned" / "train_00003_aligned.jpg").unlink()
    assert prepare("rafdb", source, tmp_path / "two", "--strict") == 1
    assert "--strict: list_patition_label.txt, row 3: " in capsys.readouterr().err
    assert not (tmp_path / "two" / "manifest.json").exists()


def test_affectnet_tables(tmp_path, out):
    source = layouts.affectnet_tables(tmp_path / "a")
    with (source / "training.csv").open("a") as file:
        file.write("0/training0.jpg,20,10,60,60,1,11,0,0\n0/training1.jpg,NULL,10,60,60,1,0,0,0\n")
        file.write("9/none.jpg,20,10,60,60,1,0,0,0\n0/training2.jpg,20,10,60,0,1,0,0,0\n")
    assert prepare("affectnet8", source, out) == 1
    train, test = rows(out, "train"), rows(out, "test")
    assert [row["emotion"] for row in train] == 2 * list(layouts.ORDERS["affectnet8"])  # without 8 to 10
    assert [row["source_label"] for row in test] == list("01234567"), "the validation part, which has no heading"
    with Image.open(io.BytesIO(train[0]["image"]["bytes"])) as crop:
        assert crop.size == (69, 69)  # a box of 60 px is 0.869 of a training face
    reasons = [row["reason"] for row in bad(out)]
    assert [row["row"] for row in bad(out)] == [24, 25, 27, 26]
    assert "0 to 10, not '11'" in reasons[0] and "has no box" in reasons[1] and "60 x 0" in reasons[2]
    assert "9/none.jpg is listed but absent" in reasons[3]


def test_lists_name_nothing_outside_the_source(tmp_path, out, photo):
    """A name with `../` or from the root is a row in bad.jsonl, as is one that no file can have."""
    secret = tmp_path / "secret.jpg"
    Image.fromarray(photo).save(secret)
    source = layouts.affectnet_tables(tmp_path / "a")
    names = [
        "../../secret.jpg",
        f"0/../../../{secret.name}",
        str(secret),
        "0/a\0b.jpg",
        "..\\..\\secret.jpg",
        "C:/x.jpg",
    ]
    with (source / "training.csv").open("a") as file:
        file.writelines(f"{name},20,10,60,60,1,1,0,0\n" for name in names)
        file.write("0/training0.jpg,20,10,1e9,1e9,1,1,0,0\n0/training1.jpg,nan,10,60,inf,1,1,0,0\n")
        file.write(f"0/{'x' * 200_000}.jpg,20,10,60,60,1,1,0,0\n")
    before = len(layouts.ORDERS["affectnet8"]) * 2
    assert prepare("affectnet8", source, out) == 1
    reasons = [row["reason"] for row in bad(out)]
    assert len(rows(out, "train")) == before and len(reasons) == len(names) + 3
    assert sum("is outside the folder" in reason for reason in reasons) == 5
    assert sum("a NUL in it" in reason for reason in reasons) == 1
    assert sum("0 to 10, not ''" in reason for reason in reasons) == 1  # csv takes no field of that length

    source = layouts.expw(tmp_path / "e")
    with (source / "label" / "label.lst").open("a") as file:
        file.writelines(f"{name} 0 20 10 70 80 60 1\n" for name in ("../../../secret.jpg", str(secret)))
        file.write("p0.jpg 9 20 10 inf 80 60 1\np0.jpg \u00b2 20 10 70 80 60 1\n")
    assert prepare("expw", source, tmp_path / "two") == 1
    reasons = [row["reason"] for row in bad(tmp_path / "two")]
    assert len(reasons) == 4 and sum("is outside the folder" in reason for reason in reasons) == 2


def test_affectnet_folders_with_seven_classes(tmp_path, out):
    source = layouts.affectnet_folders(tmp_path / "a")
    (source / "train_set" / "images" / "3.jpg").unlink()
    (source / "train_set" / "annotations" / "4_exp.npy").unlink()
    np.save(source / "train_set" / "annotations" / "5_exp.npy", np.array("9"))
    (source / "train_set" / "annotations" / "6_exp.npy").write_bytes(b"\x93NUMPY")
    (source / "train_set" / "annotations" / "7_exp.npy").write_bytes(b"\x93NUMPY\x01\0\x10\0{'descr': (((((((\n")
    np.save(source / "val_set" / "annotations" / "2_exp.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert prepare("affectnet7", source, out) == 1
    reasons = {row["file"]: row["reason"] for row in bad(out)}
    assert "images/3.jpg is absent" in reasons["train_set/annotations/3_exp.npy"]
    assert "images/4.jpg has no label file" in reasons["train_set/annotations/4_exp.npy"]
    assert "it is no label" in reasons["train_set/annotations/6_exp.npy"]
    assert "it is no label" in reasons["val_set/annotations/2_exp.npy"], "nothing is ever unpickled"
    assert len(reasons) == 5, "9 is uncertain: no emotion, and no mistake"
    assert "contempt" not in {row["emotion"] for row in rows(out, "train")}
    assert len(rows(out, "test")) == 6 and manifest(out)["emotions"] == list(SEVEN)


def test_ferplus(tmp_path, out, capsys):
    assert prepare("ferplus", layouts.ferplus(tmp_path / "f"), out) == 0
    train, val, test = (rows(out, split) for split in ("train", "val", "test"))
    assert [row["row"] for row in train] == [0, 1, 2, 6, 7], "row 5 has no name"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(train[1]["image"]["bytes"]))), layouts.ferplus_rows()[1][0])
    assert (train[1]["happiness"], train[1]["unknown"], train[1]["fer2013_label"]) == (8, 2, 1)
    assert (train[0]["also_in"], train[0]["twin"]) == ("val+test", "exact")
    assert (val[-1]["also_in"], val[-1]["twin"]) == ("train+test", "exact")
    assert (test[-1]["also_in"], test[-1]["twin"]) == ("train+val", "near")
    assert all(row["also_in"] == row["twin"] == "" for row in train[1:])
    assert manifest(out)["splits"]["val"]["also_in"] == {
        "train": {"exact": 1, "near": 0},
        "test": {"exact": 0, "near": 1},
    }
    assert "also in train: 1 exactly (33.3%), 0 nearly" in capsys.readouterr().err
    clean = FaceDataset([out / "train-00000.parquet"])
    assert len(clean) == 4 and len(FaceDataset([out / "train-00000.parquet"], clean=False)) == 5


def test_bad_rows_of_ferplus(tmp_path, out, capsys):
    made = layouts.ferplus_rows()
    made[1] = (made[1][0][:47], *made[1][1:])  # a row of pixels is missing
    made[2] = (made[2][0], 7, *made[2][2:])
    made[6] = (*made[6][:4], ["x"] + [0] * 9)
    made[4] = (*made[4][:4], ["\u00b2"] + [1] * 9)  # a digit, and no number
    made[7] = (*made[7][:4], ["\x1f8"] + [0] * 9)  # space to `strip`, and not to `int`: 8
    source = layouts.ferplus(tmp_path / "f", made)
    assert prepare("ferplus", source, out) == 1
    found = {(row["file"], row["row"]): row["reason"] for row in bad(out)}
    assert "it has 2256 pixel values, not 2304" in found["fer2013.csv", 3]
    assert "emotions are 0 to 6, not '7'" in found["fer2013.csv", 4]
    assert "are no ten counts" in found["fer2013new.csv", 8] and len(found) == 4
    assert "are no ten counts" in found["fer2013new.csv", 6]
    text = (source / "fer2013new.csv").read_text().splitlines()
    (source / "fer2013new.csv").write_text("\n".join([*text[:4], *text[5:], text[4]]) + "\n")
    assert prepare("ferplus", source, tmp_path / "two") == 1
    assert "row 5 is PublicTest in fer2013.csv and PrivateTest in fer2013new.csv" in capsys.readouterr().err
    (source / "fer2013new.csv").write_text("\n".join(text[:-2]) + "\n")
    assert prepare("ferplus", source, tmp_path / "three") == 1
    assert "fer2013new.csv ends after row 10, fer2013.csv goes on" in capsys.readouterr().err
    (source / "fer2013.csv").write_text("a,b\n1,2\n")
    assert prepare("ferplus", source, tmp_path / "four") == 1
    assert "has the columns a, b, not emotion, pixels, Usage" in capsys.readouterr().err


def test_sfew(tmp_path, out, capsys):
    source = layouts.sfew(tmp_path / "s")
    (source / "Train_Aligned_Faces" / "Bored").mkdir()
    assert prepare("sfew", source, out) == 1
    assert "Train_Aligned_Faces/Bored: it is none of neutral, happiness" in capsys.readouterr().err
    assert sorted(row["emotion"] for row in rows(out, "test")) == sorted(SEVEN)
    assert "the official validation part is the test part here" in manifest(out)["note"]


def test_expw_cuts_the_boxes_and_keeps_a_photo_in_one_split(tmp_path, out):
    source = layouts.expw(tmp_path / "e")
    with (source / "label" / "label.lst").open("a") as file:
        file.write("p0.jpg 0 20 10 70 80 60 7\np0.jpg 9 20 70 10 80 60 1\nshort 1\n")
    assert prepare("expw", source, out) == 1
    train, test = rows(out, "train"), rows(out, "test")
    assert len(train) + len(test) == 40 and len(test) > 2
    assert not {row["group"] for row in train} & {row["group"] for row in test}
    number = int(train[1]["name"].split("#")[0][1:-4])
    assert train[1]["emotion"] == layouts.ORDERS["expw"][(2 * number + 1) % 7]
    reasons = [row["reason"] for row in bad(out)]
    assert "0 to 6, not '7'" in reasons[0] and "is empty" in reasons[1] and "is not: name face top" in reasons[2]


def test_ckplus_finds_the_face_in_the_frames(tmp_path, out, photo):
    source = layouts.ckplus(tmp_path / "c", photo)
    file = source / "Emotion" / "S001" / "002" / "S001_002_00000005_emotion.txt"
    file.parent.mkdir()
    file.write_text("8.0")
    assert prepare("ckplus", source, out) == 1
    test, train = rows(out, "test"), rows(out, "train")
    assert [row["emotion"] for row in test] == ["neutral", "anger", "anger", "anger"]
    assert [row["emotion"] for row in train] == ["neutral", "contempt", "contempt", "contempt"]
    assert {row["group"] for row in test} == {"S000"}
    with Image.open(io.BytesIO(test[0]["image"]["bytes"])) as crop:
        assert crop.size[0] == crop.size[1] < 256 < photo.shape[0]
    # The same astronaut in both, a little darker: near duplicates.
    assert {row["also_in"] for row in test} == {"train"} and {row["twin"] for row in test} == {"near"}
    assert "emotions are 1 to 7, not '8.0'" in bad(out)[0]["reason"]


def test_folders_with_and_without_splits(tmp_path, out, capsys):
    for number, emotion in enumerate(("Happy", "sad", "3_surprise", "anger")):
        for face in range(12):
            pixels = layouts.face(20 * number + face, "neutral", colour=number > 0)
            layouts.save(tmp_path / "plain" / emotion / f"{number}{face}.png", pixels)
    layouts.save(tmp_path / "plain" / "bored" / "x.png", layouts.face(99, "neutral"))
    assert prepare("folders", tmp_path / "plain", out) == 1
    train, test = rows(out, "train"), rows(out, "test")
    assert len(train) + len(test) == 48 and 2 <= len(test) <= 20
    changes = sum(one["emotion"] != other["emotion"] for one, other in pairwise(train))
    assert changes > len(train) / 2, "emotions are mixed, not folder by folder"
    assert manifest(out)["emotions"] == ["happiness", "surprise", "sadness", "anger"]
    said = capsys.readouterr().err
    assert "bored: it names none of" in said and "rename it" in said
    assert "12 pictures are gray and 36 in colour (the first in gray: Happy/0" in said and "take a gray one" in said
    (tmp_path / "split").mkdir()
    (tmp_path / "plain" / "sad").rename(tmp_path / "split" / "sad")
    (tmp_path / "whole").mkdir()
    (tmp_path / "split").rename(tmp_path / "whole" / "valid")
    assert prepare("folders", tmp_path / "whole", tmp_path / "three") == 0
    assert len(rows(tmp_path / "three", "val")) == 12
    assert prepare("folders", tmp_path / "whole" / "valid" / "sad", tmp_path / "four") == 1
    assert "name one folder after each emotion" in capsys.readouterr().err


def test_faces_are_found_cut_and_each_kept_once(tmp_path, out, photo, capsys):
    source = tmp_path / "photos"
    layouts.save(source / "a" / "one.jpg", photo)
    layouts.save(source / "b" / "again.png", photo)  # another encoding: a near duplicate
    layouts.save(source / "small.jpg", np.asarray(Image.fromarray(photo).resize((100, 100))))
    blurred = np.asarray(Image.fromarray(photo).resize((48, 48)).resize(photo.shape[1::-1], Image.Resampling.BICUBIC))
    layouts.save(source / "soft.jpg", blurred)
    layouts.save(source / "wall.png", np.full((200, 200, 3), 128, np.uint8))
    (source / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (source / ".hidden.jpg").write_bytes(b"")
    assert prepare("faces", source, out) == 1
    faces = rows(out, "faces")
    assert [row["name"] for row in faces] == ["a/one.jpg"] and "label" not in faces[0]
    told = manifest(out)
    assert told["splits"]["faces"]["repeated"] == 1
    assert told["dropped"] == {"too small": 1, "blurred": 1, "pictures without a face": 1}
    assert [row["file"] for row in bad(out)] == ["broken.jpg"]
    assert np.load(out / "codes-faces.npy").shape == (1, 4)
    assert read_all(FaceDataset([out / "faces-00000.parquet"], labelled=False), 48, 1).image.shape == (1, 1, 48, 48)


def test_faces_for_pretraining_are_marked_if_a_test_set_has_them(tmp_path, out, photo):
    layouts.save(tmp_path / "test" / "test" / "happy" / "a.png", photo)
    assert prepare("folders", tmp_path / "test", tmp_path / "t", "--crop", "align") == 0
    layouts.save(tmp_path / "photos" / "same.jpg", photo)
    assert prepare("faces", tmp_path / "photos", out, "--apart-from", tmp_path / "t") == 0
    assert [row["also_in"] for row in rows(out, "faces")] == ["t:test"]


def test_killed_it_goes_on_and_ends_as_if_it_had_not_been(tmp_path, out, monkeypatch):
    source = layouts.rafdb(tmp_path / "basic", train=2600, test=40)
    words = [sys.executable, "-m", "pfvit", "prepare", "rafdb", str(source)]
    unbroken = subprocess.run([*words, str(tmp_path / "whole"), "--jobs", "2"], capture_output=True, text=True)
    assert unbroken.returncode == 0, unbroken.stderr
    running = subprocess.Popen([*words, str(out), "--jobs", "1"], stderr=subprocess.DEVNULL)
    while not list(out.glob(".parts/train-*.json")):
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    done = {file: file.stat().st_mtime_ns for file in out.glob(".parts/train-*.json")}
    assert done and not (out / "manifest.json").exists()
    monkeypatch.setattr("pfvit.datasets.pipeline.rmtree", lambda folder: None)  # so that it can be looked at
    assert prepare("rafdb", source, out) == 0
    assert all(file.stat().st_mtime_ns == when for file, when in done.items()), "what was done is not done again"
    for file in (tmp_path / "whole").iterdir():
        assert (out / file.name).read_bytes() == file.read_bytes(), file.name


def test_processes_end_with_the_first_one(tmp_path, out):
    source = layouts.rafdb(tmp_path / "basic", train=2600, test=40)
    words = [sys.executable, "-m", "pfvit", "prepare", "rafdb", str(source), str(out), "--jobs", "2"]
    running = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    while not list(out.glob(".parts/train-*.json")):
        time.sleep(0.01)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    if not children.exists():
        pytest.skip("this system does not tell a process's children")
    workers = [int(pid) for pid in children.read_text().split()]
    running.send_signal(signal.SIGKILL)
    running.wait()
    for _ in range(500):
        if not any(_runs(pid) for pid in workers):
            break
        time.sleep(0.02)
    assert len(workers) >= 2 and not any(_runs(pid) for pid in workers)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ProcessLookupError):
        return False


def test_a_start_that_came_to_nothing_is_no_dead_end(tmp_path, out, capsys):
    source = layouts.rafdb(tmp_path / "basic")
    assert prepare("ferplus", source, out) == 1, "another data set's folder"
    assert prepare("rafdb", source, out) == 0
    (out / "manifest.json").unlink()
    (out / ".parts").mkdir()
    (out / ".parts" / "settings.json").write_text("{}")
    (out / ".parts" / "train-0.json").write_text("{}")
    capsys.readouterr()
    assert prepare("rafdb", source, out) == 1
    assert "was begun with other settings" in capsys.readouterr().err, "where something is done, it is kept"


def test_a_prepared_folder_is_checked(tmp_path, out, capsys):
    source = layouts.rafdb(tmp_path / "basic")
    prepare("rafdb", source, out)
    capsys.readouterr()
    assert prepare("rafdb", source, out) == 0
    assert "is prepared already, and its files are as manifest.json says" in capsys.readouterr().err
    assert prepare("rafdb", source, out, "--near", "3") == 1
    assert "was prepared with other settings" in capsys.readouterr().err
    file = out / "train-00000.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"!")
    assert prepare("rafdb", source, out) == 1
    assert "train-00000.parquet was changed: its SHA-256" in capsys.readouterr().err
    file.write_bytes(whole[:1000])
    assert prepare("rafdb", source, out) == 1
    assert f"has 1000 bytes, but manifest.json says {len(whole)}: it is cut short; delete" in capsys.readouterr().err
    file.unlink()
    assert prepare("rafdb", source, out) == 1
    assert "train-00000.parquet is absent, but manifest.json lists it" in capsys.readouterr().err
    told = manifest(out)
    inside = {"splits": {"train": {**told["splits"]["train"], "files": [{**told["splits"]["train"]["files"][0]}]}}}
    inside["splits"]["train"]["files"][0]["name"] = "../train-00000.parquet"
    odd = [{"splits": []}, {"splits": {"train": 3}}, {"counts": None}, {"dropped": [3]}, {"differs": 3}, {"name": 3}]
    long = json.loads(json.dumps(told))
    long["splits"]["train"]["files"][0]["name"] = "a" * 300
    (out / "manifest.json").write_text(json.dumps(long))
    assert prepare("rafdb", source, out) == 1
    assert "is absent, but manifest.json lists it" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"lacks a+, which its manifest\.json lists"):
        locate(out)
    for text in ("{", *(json.dumps(told | wrong) for wrong in (*odd, {"settings": 3}, {"labels": 3}, inside))):
        (out / "manifest.json").write_text(text)
        assert prepare("rafdb", source, out) == 1
        assert "manifest.json is damaged" in capsys.readouterr().err, text
        with suppress(InputError):
            locate(out)


def test_a_source_that_changed_is_noticed(tmp_path, out, capsys):
    source = layouts.rafdb(tmp_path / "basic")
    assert prepare("rafdb", source, out, "--strict") == 1  # leaves its parts
    file = source / "EmoLabel" / "list_patition_label.txt"
    file.write_text(file.read_text().replace("train_00001.jpg 1", "train_00001.jpg 2"))
    assert prepare("rafdb", source, out) == 1
    assert "the source or its labels have changed since train-00000 was made" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status", "what"),
    [
        (("imagenet", ".", "out"), 2, "there is no data set 'imagenet'; choose from rafdb"),
        (("rafdb", "nowhere", "out"), 1, "nowhere is no folder"),
        (("rafdb", "empty", "out"), 1, "has no EmoLabel/list_patition_label.txt or"),
        (("affectnet8", "empty", "out"), 1, "has no Manually_Annotated_Images"),
        (("ferplus", "empty", "out"), 1, "has no fer2013.csv or"),
        (("sfew", "empty", "out"), 1, "has no Train_Aligned_Faces"),
        (("expw", "empty", "out"), 1, "has no label/label.lst"),
        (("ckplus", "empty", "out"), 1, "has no cohn-kanade-images"),
        (("folders", "empty", "out"), 1, "has the folders (none)"),
        (("faces", "empty", "out"), 1, "no usable face in empty"),
        (("faces", "empty", "empty/out"), 2, "lies in empty"),
        (("faces", "empty", "full"), 1, "is not empty and not from pfvit prepare"),
        (("faces", "empty", "full/a.png"), 1, "a.png is a file; choose a folder"),
        (("faces", "empty", "out", "--near", "40"), 2, "--hash-distance is 0 to 31"),
        (("faces", "empty", "out", "--held-out", "1"), 2, "--held-out is a share"),
        (("faces", "empty", "out", "--size", "4"), 2, "--size must be 8"),
        (("faces", "full", "out", "--apart-from", "empty"), 1, "empty is no prepared folder"),
    ],
)
def test_mistakes_are_explained(words, status, what, tmp_path, monkeypatch, capsys, photo):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    layouts.save(tmp_path / "full" / "a.png", photo)
    assert prepare(*words) == status
    assert what in capsys.readouterr().err


def test_a_label_file_without_its_pictures_is_one_clear_failure(tmp_path, out, capsys):
    source = layouts.rafdb(tmp_path / "basic")
    for file in (source / "Image" / "aligned").iterdir():
        file.unlink()
    assert prepare("rafdb", source, out) == 1
    said = capsys.readouterr().err
    assert "no usable face" in said and "21 rows were set aside; the first: list_patition_label.txt, row " in said


def test_a_full_disk_is_explained_and_the_same_command_goes_on(tmp_path, out):
    """A limit on the size of files stands for the disk; the parts that were written stay."""
    source = layouts.rafdb(tmp_path / "basic", 20, 7)
    words = [sys.executable, "-m", "pfvit", "prepare", "rafdb", str(source), str(out), "--jobs", "1"]
    limited = (
        "import os, resource; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)); "
        f"os.execv({words[0]!r}, {words!r})"
    )
    done = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True)
    assert done.returncode == 1 and "train-00000.parquet cannot be written (File too large): make room" in done.stderr
    assert "panicked" not in done.stderr and not list(out.glob(".parts/.*.part*"))
    assert prepare("rafdb", source, out) == 0


def test_a_box_is_used_where_no_face_is_found_in_it_and_the_face_where_one_is(tmp_path, out, photo):
    """--crop align looks inside the published box only, and falls back to it."""
    source = tmp_path / "a"
    layouts.affectnet_tables(source)
    layouts.save(source / "Manually_Annotated_Images" / "0" / "training0.jpg", photo)
    text = (source / "training.csv").read_text().replace("training0.jpg,20,10,60,60", "training0.jpg,150,60,150,150")
    (source / "training.csv").write_text(text)
    assert prepare("affectnet8", source, out, "--crop", "align", "--size", "512") == 0
    sizes = [Image.open(io.BytesIO(row["image"]["bytes"])).size[0] for row in rows(out, "train")]
    assert len(sizes) == 16
    assert sizes[1] == 69 and sizes[0] != round(150 / 0.869)


def test_sharpness_falls_with_blur(photo):
    shown = Image.fromarray(photo)
    values = [sharpness(np.asarray(shown.resize((s, s)).resize((200, 200)))) for s in (200, 60, 20)]
    assert values[0] > 1.5 * values[1] > 6 * values[2]


def test_published_counts_are_said_to_match():
    counts = {"train": {"neutral": 2}, "test": {"neutral": 1}}
    told = {
        "splits": {},
        "counts": counts,
        "dropped": {},
        "gray": 0,
        "colour": 3,
        "differs": [],
        "published": counts,
        "note": "",
        "bad": 0,
    }
    assert list(lines(told)) == ["all counts are the published ones"]


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the shared faces are not here")
def test_real_faces_leak_as_much_as_is_known(tmp_path, out):
    """Of FER+'s validation faces 7.8% are, pixel for pixel, among the training faces: here, a tenth of each."""
    known: dict[int, str] = {}
    made = []
    for split, usage in (("train", "Training"), ("val", "PublicTest")):
        table = pq.read_table(SHARED / "data" / f"ferplus_{split}.parquet").to_pylist()
        leaking = [row for row in table if ("val" if split == "train" else "train") in row["also_in"]]
        others = [row for row in table if not row["also_in"]]
        for row in leaking + others[: len(table) // 20]:
            pixels = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])).convert("L"))
            votes = [row[name] for name in layouts.FERPLUS_VOTES]
            known[len(made)] = row["also_in"]
            made.append((pixels, row["fer2013_label"], usage, row["name"], votes))
    assert prepare("ferplus", layouts.ferplus(tmp_path / "f", made), out) == 0
    for split, other in (("train", "val"), ("val", "train")):
        for row in rows(out, split):
            assert (row["twin"] == "exact") == (other in known[row["row"]]), row["row"]


def test_a_folder_of_an_earlier_version_is_still_prepared(tmp_path, capsys):
    """It called the hash distance otherwise in its settings."""
    source, out = layouts.rafdb(tmp_path / "rafdb"), tmp_path / "out"
    prepare("rafdb", source, out)
    manifest_file = out / "manifest.json"
    report = json.loads(manifest_file.read_text())
    report["settings"]["near"] = report["settings"].pop("hash_distance")
    manifest_file.write_text(json.dumps(report))
    capsys.readouterr()
    prepare("rafdb", source, out, "--near", "10")
    assert "is prepared already" in capsys.readouterr().err


def test_fer2013_without_votes(tmp_path, out):
    """Kaggle's table as it is: what is wrong in a row is told, the others are prepared under FER2013's own labels."""
    rows_ = layouts.ferplus_rows()
    uses = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
    lines = ["emotion,pixels,Usage"]
    kept: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for pixels, emotion, usage, *_ in rows_:
        lines.append(f"{emotion},{' '.join(map(str, pixels.flatten()))},{usage}")
        kept[uses[usage]].append(emotion)
    plain = " ".join(["9"] * 48 * 48)
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "fer2013.csv").write_text(
        "\n".join([*lines, f"7,{plain},Training", f"3,{plain},Elsewhere"]) + "\n"
    )
    assert prepare("fer2013", tmp_path / "f", out) == 1
    reasons = {row["row"]: row["reason"] for row in bad(out)}
    assert "emotions are 0 to 6, not '7'" in reasons[len(rows_) + 2]
    assert "Usage is Training, PublicTest or PrivateTest" in reasons[len(rows_) + 3] and len(reasons) == 2
    names = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
    for part, labels in kept.items():
        assert [row["emotion"] for row in rows(out, part)] == [names[label] for label in labels], part


def test_in_a_container_there_are_no_more_processes_than_its_share_of_cores(tmp_path, out, monkeypatch):
    asked = []

    def alone(function, items, jobs, *given):
        asked.append(jobs)
        return map(function, items)

    monkeypatch.setattr("os.cpu_count", lambda: 64)  # as a container of two cores on a large machine says
    monkeypatch.setattr("pfvit.datasets.pipeline.parallel_map", alone)
    assert main(["prepare", "rafdb", str(layouts.rafdb(tmp_path / "basic")), str(out)]) == 0
    assert asked[0] == cores() and max(asked) <= cores() < 64


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_pipes_in_downloads_are_set_aside(tmp_path, out):
    photo = np.zeros((20, 20, 3), np.uint8)
    ckplus, affectnet = layouts.ckplus(tmp_path / "ck", photo), layouts.affectnet_folders(tmp_path / "affectnet")
    pipes = {"ckplus": ckplus / "Emotion/S000/001/x_emotion.txt"}
    pipes["affectnet8"] = affectnet / "train_set/annotations/99_exp.npy"
    layouts.save(affectnet / "train_set/images/99.jpg", photo)
    for name, pipe in pipes.items():
        os.mkfifo(pipe)
        source = ckplus if name == "ckplus" else affectnet
        found = [str(item) for item in SETS[name].listing(source, Prepare(name, source, out)) if isinstance(item, Bad)]
        assert len(found) == 1 and "a device or a pipe" in found[0], found
    rafdb = layouts.rafdb(tmp_path / "raf")
    (rafdb / "EmoLabel/list_patition_label.txt").unlink()
    os.mkfifo(rafdb / "EmoLabel/list_patition_label.txt")
    with pytest.raises(InputError, match="has no EmoLabel"):
        list(SETS["rafdb"].listing(rafdb, Prepare("rafdb", rafdb, out)))


def test_damaged_notes_of_a_run_that_was_ended_are_no_traceback(tmp_path, out, capsys):
    source = layouts.rafdb(tmp_path / "basic")
    assert prepare("rafdb", source, out, "--strict") == 1  # leaves its parts
    (record,) = tmp_path.rglob("settings.json")
    (part, *_) = sorted(record.parent.rglob("train-*.json")) or sorted(record.parent.rglob("*-0*.json"))
    capsys.readouterr()
    settings = record.read_text()
    for text in ("", "[", "[1]", "[" * 5000):
        record.write_text(text)
        assert prepare("rafdb", source, out) == 1
        assert "was begun with other settings" in capsys.readouterr().err
    record.write_text(settings)
    part.write_text("[")
    assert prepare("rafdb", source, out) == 0 and len(rows(out, "train")) == 14, "the part is made again"
