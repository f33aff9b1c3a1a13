# What the jobs read: an indexed data set, backbones, and further options of `frostline extract`.
export DATASET="${DATASET:-mine}"
export BACKBONES="${BACKBONES:-effnet-lite0 resnet50}"
export EXTRACT="${EXTRACT:-}"
export WORKSPACE="${WORKSPACE:-frostline-workspace}"
export PATH="$PWD/.venv/bin:$PATH"
