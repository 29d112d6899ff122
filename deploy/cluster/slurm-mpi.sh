#!/bin/bash
# One training by several ranks, as a job of Slurm:
#
#     sbatch --ntasks=4 deploy/cluster/slurm-mpi.sh --id-data cifar10 --architecture resnet-110 --head isomax+
#
# Flags behind the script are those of `isomax-bench train`, which must be built with the feature mpi. A job that is put
# back into the queue goes on from its last epoch, also with another number of tasks. With GPUs: --gpus-per-task=1.
#SBATCH --job-name=isomax
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=isomax-%j.log
set -euo pipefail

# Open MPI asks Slurm for its machines and tasks. Where Slurm was built for your MPI, `srun --mpi=pmix` does as well.
exec mpirun --oversubscribe "${ISOMAX_BENCH:-isomax-bench}" train --output "${ISOMAX_RESULTS:-results}" "$@"
