"""What a decoder took is given back, so that the next picture's memory does not come on top of it."""

import subprocess
import sys

import pytest
from PIL import Image, features

#: A JPEG 2000 of 200 x 13,000 pixels in tiles of 2,048: 172 bytes.
FOUND = bytes.fromhex(
    "ff4fff51002f0000000032c8000000c80000000000000000000000080000000800000000000000000003070101070101070101ff5200"
    "0c00000001000504040001ff5c00134040484850484850484850484850484850ff640025000143726561746564206279204f70656e4a"
    "5045472076657273696f6e20322e352e34ff90000a00000000002d0001ff93cfb40c01cabfdf80100890df8010089080808080808080"
    "8080808080808080ffd9"
)
#: Decodes a picture twice, and says how many MB more the process has afterwards.
DECODE = """
import sys
from pathlib import Path
from pfvit.data import images
def held():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) / 1024
images.decode(Path(sys.argv[2]).read_bytes())
before = held()
for _ in range(2):
    images.decode(Path(sys.argv[1]).read_bytes())
print(held() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc, and given back by glibc")
@pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow reads no JPEG 2000")
def test_what_a_damaged_picture_took_is_given_back(tmp_path):
    """OpenJPEG takes 650 MB for this one, and glibc kept up to 470 of them."""
    Image.new("RGB", (64, 64)).save(tmp_path / "small.jp2")
    (tmp_path / "found.jp2").write_bytes(FOUND)
    words = [sys.executable, "-c", DECODE, str(tmp_path / "found.jp2"), str(tmp_path / "small.jp2")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 60
