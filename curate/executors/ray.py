"""Runs tasks on a Ray cluster: one that is joined by its address, or one of the run's own on this machine."""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import chdir, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from curate.errors import ConfigError, CurateError, PluginError, RetryableError, missing_extra_error
from curate.executors.base import MAX_TRIES, Result, Task, Value, count_cores, is_stopping, run_task, thread_environment
from curate.version import __version__

_PATIENCE = 10.0
"""Seconds in which a cluster must answer, and in which tasks that were ended must be gone."""

_EVERY = 2.0
"""Seconds between two knocks at the head of the cluster."""

_SILENT = 4.0
"""Seconds of silence after which the head is given up."""

_SILENCE = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Seconds without the head after which Ray ends this process, whatever it does: we notice before, see ``_answers``."""

_OBJECTS = 100 * 2**20
"""Bytes for the objects of a cluster of our own: tasks and results are small, the data lies in files."""


class Ray:
    """A Ray cluster, reached when first needed; each task computes on one of its CPUs, at most ``workers`` at once.

    A worker that dies, or its whole node, takes its task with it; the task is tried again, three times in all.

    Parameters
    ----------
    workers : None for as many as the cluster has CPUs
    address : as Ray takes it (``auto``, ``host:port``, ``ray://host:port``); None for what ``RAY_ADDRESS`` says or,
        where it says nothing, for a cluster on this machine that ``close`` ends
    """

    def __init__(self, workers: int | None, address: str | None = None) -> None:
        self.workers = workers or count_cores()
        self._all = workers is None
        self._address = address if address is not None else os.environ.get("RAY_ADDRESS") or None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._joined = False
        self._head: tuple[str, int] | None = None
        """Host and port at which the head of the cluster listens, if it is known."""
        self._knocked = 0.0
        """When that was last tried."""
        self._silent: float | None = None
        """Since when it has not answered; None if it answers."""
        self._send: Any = None
        self._running: dict[Future[Any], tuple[Any, int, int]] = {}
        """The tasks under way: Ray's handle on one, its index, and how often it was begun."""

    def map(self, fn: Callable[[Task], Value], tasks: Sequence[Task]) -> Iterator[Result[Value]]:
        if not tasks:
            return
        ray = self._connected()
        self._knocked, self._silent = 0.0, None
        waiting = deque((index, 1) for index in range(len(tasks)))
        try:
            while self._running or (waiting and not is_stopping()):
                there = self._answers()
                while there and waiting and not is_stopping() and len(self._running) < self.workers:
                    index, begun = waiting.popleft()
                    handle = self._send(fn, index, tasks[index])
                    self._running[handle.future()] = handle, index, begun
                if not self._running:  # the head is silent, and may be back soon
                    time.sleep(_EVERY)
                # Not ray.wait: a signal that arrives in it can come out as a SystemError.
                for done in wait(self._running, _EVERY, FIRST_COMPLETED).done:
                    _, index, begun = self._running.pop(done)
                    try:
                        result = _result(ray, done, last=begun == MAX_TRIES)
                    except CurateError as error:
                        if not self._knock():
                            self._silent = self._knocked
                            raise self._gone() from error
                        raise
                    if result is None:
                        waiting.appendleft((index, begun + 1))
                    else:
                        yield result
        finally:
            self._end_tasks()

    def _connected(self) -> ModuleType:
        """The ray module, once this process is part of a cluster."""
        with _our_signals():
            try:
                import ray
            except ImportError as error:
                raise missing_extra_error("ray", "ray", "--executor ray") from error
            if self._send is None:
                if not ray.is_initialized():  # else the program that called us is part of one: that is the one to use
                    with chdir("/"):  # where we are is where its workers would import modules from first
                        self._start(ray) if self._address is None else self._join(ray, self._address)
                self._head = _head(ray, self._address)
                self._send = self._sender(ray)
        return ray

    def _start(self, ray: ModuleType) -> None:
        # A folder of its own goes with the cluster, and who looks in the usual one for a cluster to join finds none.
        # Not in TMPDIR, as sockets lie in it, whose paths may have 107 characters.
        self._folder = tempfile.TemporaryDirectory(prefix="curate-ray-", dir="/tmp", ignore_cleanup_errors=True)
        ray.init(
            "local",
            num_cpus=self.workers,
            object_store_memory=_OBJECTS,
            include_dashboard=False,
            _temp_dir=self._folder.name,
            **_QUIET,
        )

    def _join(self, ray: ModuleType, address: str) -> None:
        if address != "auto":
            _somebody_listens(ray, address)
        try:
            with _patient():
                ray.init(address, **_QUIET)
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise _unreachable(address, str(error).partition("\n")[0]) from error
        self._joined = True
        if self._all:
            self.workers = max(1, int(ray.cluster_resources().get("CPU", 0)))

    def _answers(self) -> bool:
        """Return whether the head of the cluster is there, which is tried every few seconds.

        Raises
        ------
        RetryableError : if it has been silent for too long
        """
        if time.monotonic() - self._knocked >= _EVERY:
            there = self._knock()
            self._silent = None if there else self._silent or self._knocked
        if self._silent is not None and time.monotonic() - self._silent > _SILENT:
            raise self._gone()
        return self._silent is None

    def _knock(self) -> bool:
        """Return whether somebody listens where the head of the cluster was."""
        self._knocked = time.monotonic()
        if self._head is None:
            return True
        try:
            socket.create_connection(self._head, _EVERY).close()
        except OSError:
            return False
        return True

    def _gone(self) -> RetryableError:
        """Return the error for a cluster whose head has died."""
        host, port = self._head or ("", 0)
        own = self._folder is not None
        return RetryableError(
            f"the head of the Ray cluster at {self._address or f'{host}:{port}'} does not answer",
            hint="the same command goes on where this one stopped"
            + ("" if own else "; start the cluster again, or leave --ray-address out for one of this run's own"),
        )

    def _sender(self, ray: ModuleType) -> Callable[..., Any]:
        share = thread_environment(count_cores() if self._folder is None else self.workers)
        # Retries are ours, so that one task is begun as often on any executor, also when Ray ends it for its memory.
        options = {"num_cpus": 1, "max_retries": 0, "runtime_env": {"env_vars": share}}
        send = ray.remote(_work).options(**options).remote
        return lambda fn, index, task: send(str(Path.cwd()), __version__, fn, index, task)

    def _end_tasks(self) -> None:
        """End the tasks under way and wait until they have ended: nobody writes after this."""
        if self._running:
            import ray

            running, self._running = self._running, {}
            for handle, _, _ in running.values():
                ray.cancel(handle, force=True)
            wait(running, timeout=_PATIENCE if self._silent is None else _EVERY)

    def close(self) -> None:
        """Leave the cluster; a task that is still running is ended, and so is the cluster if it is our own."""
        self._end_tasks()
        if self._joined or self._folder is not None:
            import ray

            ray.shutdown()
        if self._folder is not None:
            self._folder.cleanup()
        self._send, self._folder, self._joined = None, None, False


_QUIET = {"logging_level": logging.ERROR, "log_to_driver": False}  # what workers print would go to stdout


@contextmanager
def _our_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself when it connects; how a run ends is for the command line to say."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)
        signal.siginterrupt(signal.SIGINT, True)  # Polars' handler would let the wait for a task go on


@contextmanager
def _patient() -> Iterator[None]:
    """Let Ray wait for a silent head, where it would end this process, and with it leave a lock and say nothing of us.

    Ray reads the setting when it connects; processes that are started later do not inherit it.
    """
    before = os.environ.get(_SILENCE)
    os.environ.setdefault(_SILENCE, str(3600))
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SILENCE]


def _head(ray: ModuleType, address: str | None) -> tuple[str, int] | None:
    """Return host and port at which the head of the cluster listens; None where a program connected as a client."""
    if not (address or "").startswith("ray://"):
        if ray.util.client.ray.is_connected():
            return None
        address = f"//{ray.get_runtime_context().gcs_address}"
    parts = urlsplit(str(address))
    return (parts.hostname, parts.port) if parts.hostname and parts.port else None


def _somebody_listens(ray: ModuleType, address: str) -> None:
    """See whether anybody listens: Ray itself would try for two minutes, and then end this process."""
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _unreachable(address, str(error)) from error
    if parts.scheme not in ("", "ray") or host is None or port is None:
        raise _unreachable(address, "that is no address of a Ray cluster")
    if host in ("localhost", "127.0.0.1", "::1"):
        host = ray.util.get_node_ip_address()  # the address by which Ray knows this machine, and looks for it
    try:
        socket.create_connection((host, port), _PATIENCE).close()
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from error


def _unreachable(address: str, why: str) -> ConfigError:
    return ConfigError(
        f"--ray-address: no Ray cluster can be joined at {address!r}: {why}",
        hint="give the address that `ray start --head` printed, or auto on one of its machines (a cluster with a token "
        "asks for RAY_AUTH_MODE=token here too); or leave it out for a cluster of this run's own",
    )


def _result(ray: ModuleType, done: Future[Any], *, last: bool) -> Result[Any] | None:
    """What a task that has ended gave; None if it was lost and may be begun again."""
    lost = (
        ray.exceptions.WorkerCrashedError,
        ray.exceptions.NodeDiedError,
        ray.exceptions.LocalRayletDiedError,
        ray.exceptions.OutOfMemoryError,
        ray.exceptions.ObjectLostError,
    )
    try:
        result: Result[Any] = done.result()
        return result
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except lost as error:
        if last:
            raise RetryableError(
                f"a worker of Ray was lost {MAX_TRIES} times with the same task: {type(error).__name__}",
                hint="most often a machine ran out of memory: use fewer --workers or smaller shards",
            ) from error
        return None
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise RetryableError(f"Ray cannot run a task: {error}", hint="see: ray status") from error


def _work(folder: str, version: str, fn: Callable[[Task], Value], index: int, task: Task) -> Result[Value]:
    """Run one task in a worker, which must see what the driver sees."""
    host = socket.gethostname()
    if version != __version__:
        raise PluginError(
            f"{host} has curate {__version__}, this is {version}", hint="install the same on every machine"
        )
    try:
        os.chdir(folder)
    except OSError as error:
        raise ConfigError(
            f"a worker of Ray on {host} cannot enter the folder this run was started in: {error.strerror}",
            where=folder,
            hint="share it at the same path on every machine; if all paths are s3://… or the like, start in /",
        ) from error
    return run_task(fn, index, task)
