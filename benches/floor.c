/* The floor: the traffic of one master and its workers with nothing but MPI, by its blocking calls.
 * One task is 8 bytes there and 8 bytes back; `ahead` of them are on the way to each worker at a time.
 * Prints a JSON object a line.
 *   mpicc -O2 floor.c -o floor && mpiexec -n 2 ./floor
 *   mpiexec -n 1 ./floor spawn       the worker is a spawned child */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TASK = 7, END = 8, LARGEST = 64 << 20 };

static const char *kind = "ranks";

/* Rank 0's side. `first` is the rank of the first worker in `comm`. */
static void master(MPI_Comm comm, int first, int workers, char *block) {
  long value = 0;
  for (int ahead = 1; ahead <= 4; ahead *= 4) {
    const int tasks = strcmp(kind, "ranks") ? 50000 : 300000;
    double began = 0;
    for (int warm = 1; warm >= 0; warm--) {
      const int count = warm ? 10000 : tasks;
      int sent = 0;
      began = MPI_Wtime();
      for (int k = 0; k < ahead; k++)
        for (int w = 0; w < workers; w++, sent++) MPI_Send(&value, 1, MPI_LONG, first + w, TASK, comm);
      for (int back = 0; back < count; back++) {
        MPI_Status from;
        MPI_Recv(&value, 1, MPI_LONG, MPI_ANY_SOURCE, TASK, comm, &from);
        if (sent < count) {
          MPI_Send(&value, 1, MPI_LONG, from.MPI_SOURCE, TASK, comm);
          sent++;
        }
      }
    }
    printf("{\"what\":\"floor\",\"kind\":\"%s\",\"workers\":%d,\"ahead\":%d,\"tasks_per_s\":%.0f}\n", kind, workers, ahead,
           tasks / (MPI_Wtime() - began));
  }
  static const int sizes[] = {1 << 10, 1 << 16, 1 << 20, LARGEST}, rounds_of[] = {20000, 5000, 500, 8};
  for (int at = 0; workers == 1 && at < 4; at++) {
    const int bytes = sizes[at], rounds = rounds_of[at];
    double began = 0;
    for (int k = -1; k < rounds; k++) {
      if (k == 0) began = MPI_Wtime();
      MPI_Send(block, bytes, MPI_BYTE, first, TASK, comm);
      MPI_Recv(block, bytes, MPI_BYTE, first, TASK, comm, MPI_STATUS_IGNORE);
    }
    printf("{\"what\":\"floor_block\",\"kind\":\"%s\",\"bytes\":%d,\"MiB_per_s\":%.0f}\n", kind, bytes,
           2.0 * bytes / (1 << 20) * rounds / (MPI_Wtime() - began));
  }
  for (int w = 0; w < workers; w++) MPI_Send(NULL, 0, MPI_BYTE, first + w, END, comm);
}

static void worker(MPI_Comm comm, char *block) {
  for (;;) {
    MPI_Status of;
    int bytes;
    MPI_Recv(block, LARGEST, MPI_BYTE, 0, MPI_ANY_TAG, comm, &of);
    if (of.MPI_TAG == END) return;
    MPI_Get_count(&of, MPI_BYTE, &bytes);
    MPI_Send(block, bytes, MPI_BYTE, 0, TASK, comm);
  }
}

int main(int argc, char **argv) {
  int rank, size;
  MPI_Comm parent, children;
  char *block = calloc(1, LARGEST);
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Comm_get_parent(&parent);
  if (parent != MPI_COMM_NULL) {
    worker(parent, block);
  } else if (argc > 1 && !strcmp(argv[1], "spawn")) {
    kind = "spawned";
    MPI_Comm_spawn(argv[0], MPI_ARGV_NULL, 1, MPI_INFO_NULL, 0, MPI_COMM_SELF, &children, MPI_ERRCODES_IGNORE);
    master(children, 0, 1, block);
  } else if (rank == 0) {
    master(MPI_COMM_WORLD, 1, size - 1, block);
  } else {
    worker(MPI_COMM_WORLD, block);
  }
  free(block);
  MPI_Finalize();
  return 0;
}
