/* The floor: the traffic of one master and one worker with nothing but MPI.
 * One task is 8 bytes there and 8 bytes back; `ahead` of them are on the way at a time.
 * Prints a JSON object a line.  mpicc -O2 floor.c -o floor && mpiexec -n 2 ./floor */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

enum { TASK = 7, BLOCK = 1 << 20 };

static double tasks_per_second(int rank, int tasks, int ahead) {
  long value = 0;
  double began = MPI_Wtime();
  if (rank == 1) {
    for (int done = 0; done < tasks; done++) {
      MPI_Recv(&value, 1, MPI_LONG, 0, TASK, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      MPI_Send(&value, 1, MPI_LONG, 0, TASK, MPI_COMM_WORLD);
    }
  } else if (rank == 0) {
    for (int sent = 0, back = 0; back < tasks;) {
      if (sent < tasks && sent - back < ahead) {
        MPI_Send(&value, 1, MPI_LONG, 1, TASK, MPI_COMM_WORLD);
        sent++;
      } else {
        MPI_Recv(&value, 1, MPI_LONG, 1, TASK, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        back++;
      }
    }
  }
  return tasks / (MPI_Wtime() - began);
}

static double mib_per_second(int rank, int rounds, char *block) {
  double began = MPI_Wtime();
  for (int k = 0; k < rounds; k++) {
    if (rank == 0) MPI_Send(block, BLOCK, MPI_BYTE, 1, TASK, MPI_COMM_WORLD);
    if (rank < 2) MPI_Recv(block, BLOCK, MPI_BYTE, 1 - rank, TASK, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    if (rank == 1) MPI_Send(block, BLOCK, MPI_BYTE, 0, TASK, MPI_COMM_WORLD);
  }
  return 2.0 * rounds / (MPI_Wtime() - began);
}

int main(int argc, char **argv) {
  int rank;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  char *block = calloc(1, BLOCK);
  for (int ahead = 1; ahead <= 4; ahead *= 2) {
    tasks_per_second(rank, 10000, ahead);
    double rate = tasks_per_second(rank, 400000, ahead);
    if (rank == 0) printf("{\"what\":\"floor\",\"ahead\":%d,\"tasks_per_s\":%.0f}\n", ahead, rate);
  }
  double rate = mib_per_second(rank, 1000, block);
  if (rank == 0) printf("{\"what\":\"floor_1MiB\",\"MiB_per_s\":%.0f}\n", rate);
  free(block);
  MPI_Finalize();
  return 0;
}
