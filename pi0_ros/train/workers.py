"""Several processes training one network: each has a thread and a part of the batch, gradients are averaged.

On a CPU this beats as many threads in one process: small operations do not wait for one another.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from pi0_ros.process import end_with_parent
from pi0_ros.train.interruption import SIGNALS, interruptible
from pi0_ros.train.processes import launched, rank


def run_workers(count: int, work: Callable[..., None], *args: Any) -> int:
    """Call work(rank, asked, *args) in `count` processes (in this one if it is 1) and wait for all. In a process that torchrun
    started, only this one's part is done.

    SIGINT and SIGTERM are passed on to process 0, which decides for all (`asked`, an Interruption). Returns the signal
    that ended the work, 0 for none. Raises what a process raised, after ending the others.
    """
    if launched():
        return _beside_others(work, args)
    with interruptible() as interruption:
        if count == 1:
            work(0, interruption, *args)
            return interruption.number
        context = mp.spawn(_joined, args=(count, _free_port(), work, args), nprocs=count, join=False)
        passed_on = False
        while not context.join(timeout=0.2):
            if interruption and not passed_on:
                os.kill(context.pids()[0], signal.SIGTERM)
                passed_on = True
    return interruption.number


def _beside_others(work: Callable[..., None], args: tuple[Any, ...]) -> int:
    """This process's part of a run that torchrun started; process 0 decides when all end."""
    if rank():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        work(rank(), None, *args)
        return 0
    with interruptible() as interruption:
        work(0, interruption, *args)
    return interruption.number


def _joined(number: int, count: int, port: int, work: Callable[..., None], args: tuple[Any, ...]) -> None:
    for ending in SIGNALS:  # process 0 decides when all end; where it is gone, the next exchange fails
        signal.signal(ending, signal.SIG_IGN)
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, count, is_master=number == 0)
    dist.init_process_group("gloo", store=store, rank=number, world_size=count)
    try:
        if number:
            work(number, None, *args)
        else:
            with interruptible() as interruption:
                end_with_parent()
                work(number, interruption, *args)
    finally:
        dist.destroy_process_group()
    if number:
        _end()


def _end() -> None:
    """End this process, whose work is done, without what Python and libraries do at an exit: threads that PyTorch still has
    then abort the process now and then ("terminate called without an active exception"), and a run that is complete would end as
    a failed one. Process 0, which writes files, ends as usual."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
