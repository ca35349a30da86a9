"""Programs that do nothing, by HyperQueue with a worker of two CPUs: python hq.py HOW-MANY

Prints how many it ran in a second, its server's and worker's start left out.
"""

import sys
import time

from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

count = int(sys.argv[1])
with LocalCluster() as cluster:
    cluster.start_worker(WorkerConfig(cores=2))
    client = cluster.client()
    job = Job()
    for _ in range(count):
        job.program(["/bin/true"])
    began = time.monotonic()
    client.wait_for_jobs([client.submit(job)])
    print(int(count / (time.monotonic() - began)))
