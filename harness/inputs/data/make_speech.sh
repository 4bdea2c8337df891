#!/bin/sh
# Makes speech.flac (16 kHz, mono, 16 bits, exactly 176,000 samples) beside this script, or at $1.
# Needs espeak-ng and sox; espeak-ng 1.51 and sox 14.4.2 give the packaged file byte for byte.
set -eu

out=${1:-$(dirname "$0")/speech.flac}
raw=$(mktemp --suffix=.wav)
trap 'rm -f "$raw"' EXIT

espeak-ng -v en-gb -s 165 -w "$raw" \
    "We cut the picture of a spoken word into small square tiles, \
hand them to the device one by one, and ask two things of each. \
Is the answer right, and where did the time go?"

# -D: no dither, so that the result is always the same.
# -V1: no warning that the clip is cut within the padding at its end.
sox -D -V1 "$raw" -b 16 --comment "" "$out" gain -n -3 rate -v 16000 pad 0.1 1 trim 0 176000s
