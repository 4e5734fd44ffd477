import json
import subprocess
import sys

import pytest
import torch
from conftest import inside
from torch.utils.flop_counter import FlopCounterMode

from pfvit.config.presets import ARCHITECTURES, COMPACT
from pfvit.training.build import build_decoder
from pfvit.training.cost import cost, training_cost


def test_flops_of_a_linear_stack_are_what_the_formula_says():
    sizes = ARCHITECTURES["compact"]
    tokens, width = sizes.tokens + 1, sizes.width
    per_block = 2 * tokens * width * width * (3 + 1 + 4 + 4) + 2 * 2 * tokens * tokens * width
    patches = 2 * sizes.tokens * sizes.patch_size**2 * width
    assert cost("compact")["encoder"]["flops"] == pytest.approx(sizes.depth * per_block + patches, rel=0.01)


def test_training_costs_about_three_forwards_of_what_learns():
    parts, training = cost("compact"), training_cost("compact")
    with FlopCounterMode(display=False) as decoder:
        build_decoder(COMPACT)(torch.randn(1, COMPACT.tokens + 1, COMPACT.decoder_width))
    seen = parts["encoder"]["flops"] * 17 / 65  # a quarter of the patches, and the class token
    assert training["stage one"] == pytest.approx(3 * (seen + decoder.get_total_flops()), rel=0.05)
    assert 3 * parts["recogniser"]["flops"] < training["stage two"] < 3 * sum(parts[p]["flops"] * 2 for p in parts)


def test_info_prints_for_people_and_machines(capsys):
    told = json.loads(inside(capsys, "info", "nano", "--json").stdout)
    assert told["preset"] == "nano" and told["parts"]["encoder"]["parameters"] > 1000
    assert told["training"]["stage two"] > told["training"]["stage one"] > 0
    assert "recogniser" in inside(capsys, "info", "compact").stdout
    listed = inside(capsys, "info", "list").stdout
    assert all(name in listed for name in ARCHITECTURES)
    done = inside(capsys, "info", "huge")
    assert done.returncode == 2 and "choose from compact" in done.stderr


def test_the_list_needs_no_torch():
    code = "import sys; from pfvit.__main__ import main; sys.exit(main(['info', 'list']) or 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "paper-base" in done.stdout, done.stderr
