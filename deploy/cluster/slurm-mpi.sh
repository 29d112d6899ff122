#!/bin/bash
# One training by several ranks, as a job of Slurm:
#
#     sbatch --ntasks=4 deploy/cluster/slurm-mpi.sh --id-data cifar10 --architecture resnet-110 --head isomax+
#
# Flags behind the script are those of `isomax-bench train`, which must be built with the feature mpi. A job that is put
# back into the queue goes on from its last epoch, also with another number of tasks. With GPUs, as many for each
# machine as it has tasks: --ntasks-per-node=4 --gpus-per-node=4.
#SBATCH --job-name=isomax
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=isomax-%j.log
set -euo pipefail

# Open MPI asks Slurm for its machines and tasks. Where Slurm knows your MPI itself, `srun --mpi=pmix
# --kill-on-bad-exit=1` in place of `mpirun` does as well.
exec mpirun "${ISOMAX_BENCH:-isomax-bench}" train --output "${ISOMAX_RESULTS:-results}" "$@"
