#!/bin/bash
# A grid as an array of Slurm, one task for each shard:
#
#     sbatch --array=0-7 deploy/cluster/slurm-array.sh --sets cifar10 --networks resnet-110 --runs 5
#
# Flags behind the script are those of `isomax-bench reproduce`. A task that is put back into the queue goes on from its
# last checkpoint: finished runs are passed over. When all are done: `isomax-bench report results`.
#SBATCH --job-name=isomax
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=isomax-%A-%a.log
# Slurm asks the task to end a minute before it must.
#SBATCH --signal=TERM@60
set -euo pipefail

: "${SLURM_ARRAY_TASK_ID:?submit this with sbatch --array=0-N}"
exec srun "${ISOMAX_BENCH:-isomax-bench}" reproduce \
    --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --output "${ISOMAX_RESULTS:-results}" "$@"
