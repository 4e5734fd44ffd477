import json

import pytest
from conftest import pfvit

from pfvit.info import cost
from pfvit.presets import ARCHITECTURES


def test_flops_of_a_linear_stack_are_what_the_formula_says():
    sizes = ARCHITECTURES["compact"]
    tokens, width = sizes.tokens + 1, sizes.width
    per_block = 2 * tokens * width * width * (3 + 1 + 4 + 4) + 2 * 2 * tokens * tokens * width
    patches = 2 * sizes.tokens * sizes.patch_size**2 * width
    assert cost("compact")["encoder"]["flops"] == pytest.approx(sizes.depth * per_block + patches, rel=0.01)


def test_info_prints_for_people_and_machines():
    told = json.loads(pfvit("info", "nano", "--json").stdout)
    assert told["preset"] == "nano" and told["parts"]["encoder"]["parameters"] > 1000
    assert "recogniser" in pfvit("info", "compact").stdout
    listed = pfvit("info", "list").stdout
    assert all(name in listed for name in ARCHITECTURES)
    done = pfvit("info", "huge")
    assert done.returncode == 2 and "choose from compact" in done.stderr
