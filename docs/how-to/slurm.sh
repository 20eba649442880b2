#!/usr/bin/env bash
# Train with dynvae under SLURM, a process a GPU, on several machines; a job that runs out of time saves, and goes on.
#
#   sbatch slurm.sh srnn --data /data/speech --out runs/srnn --train.batch_size 256
#
#SBATCH --job-name=train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

set -uo pipefail

export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}

# Lightning finds the other processes by SLURM's variables; RANK tells dynvae which process writes.
srun bash -c 'export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID; exec dynvae train "$@"' train \
    "$@" --devices "$SLURM_NTASKS_PER_NODE" --num-nodes "$SLURM_NNODES" --resume
code=$?

# Three minutes before the end SLURM sends SIGTERM: the run has saved its state. The same job begins again, by --resume.
if [ "$code" -eq 143 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
