#!/usr/bin/env bash
# The weights in the wheel: from the Parquet files to the two .onnx files, their judge, their table and the figures.
#
#   PFVIT_DATA=/path/to/data PORTRAITS=/path/to/portraits runs/compact.sh [minutes per piece]
#
# Data: ferplus_train.parquet and faces_gray_128.parquet (clean protocol), ferplus_val.parquet to look at.
# Cost: about two and a half hours on two processor cores with bf16 (AVX-512). It may be stopped and started again at any
# time; with a number of minutes each run stops by itself after that long.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${PFVIT_DATA:-../shared/data}
minutes=${1:+--minutes $1}
faces="--data $data/ferplus_train.parquet --validation $data/ferplus_val.parquet"
run() { # verb, run folder, settings: start it, or go on with it; stop here if it is not done
    local folder=$2 more=
    [ ! -e "$folder/last.safetensors" ] || more=--resume
    # shellcheck disable=SC2086 (words on purpose)
    pfvit "$1" compact --out "$folder" "${@:3}" $minutes $more
}

# Stage one: masked autoencoder.
run pretrain runs/compact-pretrain --data "$data/ferplus_train.parquet" "$data/faces_gray_128.parquet" \
    --epochs 9 --batch 64 --rate 2.4e-3
# Stage two, the bridge: name the emotion, draw the face back.
# shellcheck disable=SC2086
run train runs/compact-one $faces --start runs/compact-pretrain --epochs 4.75 --layer-decay 0.8 --mixup 0.2 \
    --game.start 1
# Stage two, recognition first: the game only now and then.
# shellcheck disable=SC2086
run train runs/compact-two $faces --start runs/compact-one --epochs 8 --warmup 0.3 --layer-decay 0.9 --mixup 0 \
    --erase 0.1 --smoothing 0 --game.every 4 --game.start 1
# Stage two, the game: the critics enter as copies of an encoder that knows emotions.
# shellcheck disable=SC2086
run train runs/compact-train $faces --start runs/compact-two --epochs 1.9 --batch 48 --rate 2e-3 --warmup 0.05 \
    --layer-decay 0.5 --mixup 0 --erase 0.1 --smoothing 0 --game.batch 32 --game.start 0 --game.ramp 0.1 \
    --game.emotion 0.06 --game.restraint 1.5

judge=runs/judge/judge.onnx
[ -e $judge ] || python runs/judge.py --data "$data" --out $judge
pfvit export runs/compact-train --out src/pfvit/weights/pfvit.onnx --calibrate "$data/ferplus_val.parquet"
pfvit evaluate --data "$data/ferplus_val.parquet" --judge $judge
[ -z "${PORTRAITS:-}" ] || python runs/figures.py "$PORTRAITS"
