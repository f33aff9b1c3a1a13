#!/bin/bash
# `bash submit.sh` on the login node: shares of the embedding in an array, and the table when all of them are done.
set -eu
cd "$(dirname "$0")"
shares=$(sbatch --parsable extract.sbatch)
sbatch --parsable --dependency="afterok:$shares" table.sbatch
