#!/usr/bin/env bash
# The weights in the wheel: from the Parquet files to the two .onnx files and their table.
#
#   PFVIT_DATA=/path/to/data runs/compact.sh [minutes per piece]
#
# Data: ferplus_train.parquet and faces_gray_128.parquet (clean protocol), ferplus_val.parquet to look at.
# Cost: about two hours on two processor cores with bf16 (AVX-512). It may be stopped and started again at any time;
# with a number of minutes it stops by itself after that long in each stage.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${PFVIT_DATA:-../shared/data}
minutes=${1:+--minutes $1}
more() { if [ -e "$1/last.safetensors" ]; then echo --resume; fi; }

# shellcheck disable=SC2046,SC2086 (words on purpose)
pfvit pretrain compact --data "$data/ferplus_train.parquet" "$data/faces_gray_128.parquet" \
    --out runs/compact-pretrain --epochs 9 --batch 64 --rate 2.4e-3 $minutes $(more runs/compact-pretrain)
# shellcheck disable=SC2046,SC2086
pfvit train compact --data "$data/ferplus_train.parquet" --validation "$data/ferplus_val.parquet" \
    --start runs/compact-pretrain --out runs/compact-train --epochs 9 --layer-decay 0.8 --mixup 0.2 \
    --evaluate-every 800 $minutes $(more runs/compact-train)
pfvit export runs/compact-train --out runs/compact-train/pfvit.onnx --calibrate "$data/ferplus_val.parquet"
pfvit evaluate --data "$data/ferplus_val.parquet" --weights runs/compact-train/pfvit.onnx
