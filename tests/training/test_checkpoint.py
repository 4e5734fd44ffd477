"""Checkpoints are whole or not there, and what is none of ours is refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pfvit.errors import InputError
from pfvit.training import checkpoint


def test_checkpoint_survives_a_full_disk(tmp_path, monkeypatch):
    path = tmp_path / checkpoint.LAST
    checkpoint.save(path, {"a": torch.ones(2)}, {"step": 1, "stage": "photo", "config": {}})

    def full(tensors, filename, metadata):
        Path(filename).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(InputError, match=r"No space left on device.*previous checkpoint is untouched"):
        checkpoint.save(path, {"a": torch.zeros(2)}, {"step": 2})
    tensors, record = checkpoint.load(tmp_path)
    assert record["step"] == 1 and torch.equal(tensors["a"], torch.ones(2))
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.LAST]


def test_files_that_are_no_checkpoint_are_refused(tmp_path):
    (tmp_path / "junk").write_bytes(b"junk" * 100)
    with pytest.raises(InputError, match="is not a safetensors file"):
        checkpoint.load(tmp_path / "junk")
    (tmp_path / "mine.onnx").write_bytes(b"junk" * 100)
    with pytest.raises(InputError, match=r"mine.onnx is an ONNX file, .*: give the .safetensors"):
        checkpoint.load(tmp_path / "mine.onnx")
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, tmp_path / "other", {"format": "pfvit-run-99"})
    with pytest.raises(InputError, match=r"format 'pfvit-run-99', and this version reads 'pfvit-run-2'"):
        checkpoint.load(tmp_path / "other")


SMALL = {
    "image_size": 12,
    "width": 8,
    "depth": 1,
    "heads": 1,
    "decoder_width": 8,
    "decoder_depth": 1,
    "decoder_heads": 1,
}


def run_record(model: object = SMALL, **more: object) -> str:
    return json.dumps({"stage": "train", "step": 3, "classes": ["a", "b"], "config": {"model": model}, **more})


@pytest.mark.parametrize(
    "record",
    [None, "", "[]", "{}", "[" * 5000, '{"config": 3}', '{"config": []}', '{"config": {}, "stage": "train", "step": 3}']
    + [run_record(SMALL | odd) for odd in (
        {"width": "8"}, {"width": 10**400}, {"width": 8.5}, {"depth": True}, {"depth": 10**9}, {"separator": "x"},
        {"stem": 5}, {"stem": [8, "a"]}, {"heads": 0}, {"patch_size": 1, "image_size": 8192})]
    + [run_record([]), run_record(classes=3), run_record(classes=[1]), run_record(stage=None), run_record(step="x")],
)  # fmt: skip
@pytest.mark.parametrize("form", ["pfvit-run-1", "pfvit-run-2"])
def test_a_checkpoint_with_a_damaged_record_is_told(record, form, tmp_path):
    path = tmp_path / "last.safetensors"
    metadata = {"format": form} | ({} if record is None else {"record": record})
    save_file({"step": torch.zeros(1)}, path, metadata)
    for read in (checkpoint.load, checkpoint.record_of):
        with pytest.raises(InputError, match=r"last\.safetensors is no checkpoint of pfvit, or is damaged"):
            read(path)


def test_a_record_may_not_ask_for_more_weights_than_its_file_holds(tmp_path):
    path = tmp_path / "last.safetensors"
    save_file({"a": torch.zeros(200)}, path, {"format": "pfvit-run-2", "record": run_record()})
    checkpoint.load(path)
    record = run_record(SMALL | {"width": 8192, "depth": 8192})  # 8 TB
    save_file({"a": torch.zeros(200)}, path, {"format": "pfvit-run-2", "record": record})
    with pytest.raises(InputError, match="is damaged: it holds fewer weights than a model of the sizes that it says"):
        checkpoint.load(path)
