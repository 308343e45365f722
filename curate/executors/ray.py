"""Executor that runs tasks on a Ray cluster, an existing one or a temporary one on this machine."""

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
"""Timeout for the connection to a cluster, and for the end of canceled tasks, in seconds."""

_CHECK_INTERVAL = 2.0
"""Interval between two connection checks to the head of the cluster, in seconds."""

_SILENCE_LIMIT = 4.0
"""Time without an answer after which the head is considered dead, in seconds."""

_RECONNECT_TIMEOUT = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Setting for the seconds without a head after which Ray ends this process; ``_head_is_alive`` detects that earlier."""

_OBJECT_STORE_BYTES = 100 * 2**20
"""Size of the object store of a temporary cluster in bytes; tasks and results are small, as the data is in files."""


class Ray:
    """Executor on a Ray cluster, which is connected on first use and runs each task on one CPU.

    If a worker or its node dies, its task is tried again, three times in all.

    Parameters
    ----------
    workers : int or None
        Number of parallel tasks; None for the number of CPUs of the cluster.
    address : str, optional
        Address of the cluster (``auto``, ``host:port``, ``ray://host:port``). None uses ``RAY_ADDRESS`` or, if it is
        not set, starts a temporary cluster on this machine, which ``close`` ends.
    """

    def __init__(self, workers: int | None, address: str | None = None) -> None:
        self.workers = workers or count_cores()
        self._use_all_cpus = workers is None
        self._address = address if address is not None else os.environ.get("RAY_ADDRESS") or None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._joined = False
        self._head: tuple[str, int] | None = None
        """Host and port of the head of the cluster, if known."""
        self._last_check = 0.0
        """Time of the last connection check."""
        self._silent_since: float | None = None
        """Time since which the head has not answered; None if it answers."""
        self._send: Any = None
        self._running: dict[Future[Any], tuple[Any, int, int]] = {}
        """Running tasks: the Ray handle, the index and the number of attempts."""

    def map(self, fn: Callable[[Task], Value], tasks: Sequence[Task]) -> Iterator[Result[Value]]:
        if not tasks:
            return
        ray = self._connected()
        self._last_check, self._silent_since = 0.0, None
        waiting = deque((index, 1) for index in range(len(tasks)))
        try:
            while self._running or (waiting and not is_stopping()):
                alive = self._head_is_alive()
                while alive and waiting and not is_stopping() and len(self._running) < self.workers:
                    index, tries = waiting.popleft()
                    handle = self._send(fn, index, tasks[index])
                    self._running[handle.future()] = handle, index, tries
                if not self._running:  # the head does not answer, but may recover
                    time.sleep(_CHECK_INTERVAL)
                # Not ray.wait: a signal that arrives during it may raise a SystemError.
                for done in wait(self._running, _CHECK_INTERVAL, FIRST_COMPLETED).done:
                    _, index, tries = self._running.pop(done)
                    try:
                        result = _result(ray, done, last=tries == MAX_TRIES)
                    except CurateError as error:
                        if not self._can_connect():
                            self._silent_since = self._last_check
                            raise self._dead_head_error() from error
                        raise
                    if result is None:
                        waiting.appendleft((index, tries + 1))
                    else:
                        yield result
        finally:
            self._end_tasks()

    def _connected(self) -> ModuleType:
        """Connect this process to a cluster, and return the ray module."""
        with _keep_signal_handlers():
            try:
                import ray
            except ImportError as error:
                raise missing_extra_error("ray", "ray", "--executor ray") from error
            if self._send is None:
                if not ray.is_initialized():  # if the calling program is connected, use its cluster
                    with chdir("/"):  # workers import from the current directory first
                        self._start(ray) if self._address is None else self._join(ray, self._address)
                self._head = _head(ray, self._address)
                self._send = self._sender(ray)
        return ray

    def _start(self, ray: ModuleType) -> None:
        # With a separate directory, other programs do not find this cluster, and the directory can be deleted with it.
        # TMPDIR is not used, because the paths of sockets are limited to 107 characters.
        self._folder = tempfile.TemporaryDirectory(prefix="curate-ray-", dir="/tmp", ignore_cleanup_errors=True)
        ray.init(
            "local",
            num_cpus=self.workers,
            object_store_memory=_OBJECT_STORE_BYTES,
            include_dashboard=False,
            _temp_dir=self._folder.name,
            **_QUIET,
        )

    def _join(self, ray: ModuleType, address: str) -> None:
        if address != "auto":
            _check_reachable(ray, address)
        try:
            with _reconnect_timeout():
                ray.init(address, **_QUIET)
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise _unreachable(address, str(error).partition("\n")[0]) from error
        self._joined = True
        if self._use_all_cpus:
            self.workers = max(1, int(ray.cluster_resources().get("CPU", 0)))

    def _head_is_alive(self) -> bool:
        """Return whether the head of the cluster answers, which is checked every few seconds.

        Raises
        ------
        RetryableError
            If it has not answered for too long.
        """
        if time.monotonic() - self._last_check >= _CHECK_INTERVAL:
            alive = self._can_connect()
            self._silent_since = None if alive else self._silent_since or self._last_check
        if self._silent_since is not None and time.monotonic() - self._silent_since > _SILENCE_LIMIT:
            raise self._dead_head_error()
        return self._silent_since is None

    def _can_connect(self) -> bool:
        """Return whether a connection to the head of the cluster can be opened."""
        self._last_check = time.monotonic()
        if self._head is None:
            return True
        try:
            socket.create_connection(self._head, _CHECK_INTERVAL).close()
        except OSError:
            return False
        return True

    def _dead_head_error(self) -> RetryableError:
        """Return the error for a cluster whose head has died."""
        host, port = self._head or ("", 0)
        temporary = self._folder is not None
        return RetryableError(
            f"the head of the Ray cluster at {self._address or f'{host}:{port}'} does not answer",
            hint="run the same command again to continue"
            + ("" if temporary else "; start the cluster again, or omit --ray-address to use a temporary cluster"),
        )

    def _sender(self, ray: ModuleType) -> Callable[..., Any]:
        share = thread_environment(count_cores() if self._folder is None else self.workers)
        # Retries are disabled in Ray, so that all executors try a task equally often, even if Ray ends it for memory.
        options = {"num_cpus": 1, "max_retries": 0, "runtime_env": {"env_vars": share}}
        send = ray.remote(_work).options(**options).remote
        return lambda fn, index, task: send(str(Path.cwd()), __version__, fn, index, task)

    def _end_tasks(self) -> None:
        """Cancel the running tasks and wait until they have ended, so that none of them writes later."""
        if self._running:
            import ray

            running, self._running = self._running, {}
            for handle, _, _ in running.values():
                ray.cancel(handle, force=True)
            wait(running, timeout=_PATIENCE if self._silent_since is None else _CHECK_INTERVAL)

    def close(self) -> None:
        """Cancel the running tasks and disconnect; a temporary cluster is ended."""
        self._end_tasks()
        if self._joined or self._folder is not None:
            import ray

            ray.shutdown()
        if self._folder is not None:
            self._folder.cleanup()
        self._send, self._folder, self._joined = None, None, False


_QUIET = {"logging_level": logging.ERROR, "log_to_driver": False}  # the output of workers would go to stdout


@contextmanager
def _keep_signal_handlers() -> Iterator[None]:
    """Restore the SIGTERM handler of the command line, which Ray replaces when it connects."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)
        signal.siginterrupt(signal.SIGINT, True)  # with Polars' handler, waiting for a task would continue


@contextmanager
def _reconnect_timeout() -> Iterator[None]:
    """Make Ray wait for a head that does not answer, instead of ending this process without an error and with its lock.

    Ray reads the setting when it connects; processes that are started later do not inherit it.
    """
    before = os.environ.get(_RECONNECT_TIMEOUT)
    os.environ.setdefault(_RECONNECT_TIMEOUT, str(3600))
    try:
        yield
    finally:
        if before is None:
            del os.environ[_RECONNECT_TIMEOUT]


def _head(ray: ModuleType, address: str | None) -> tuple[str, int] | None:
    """Return the host and port of the head of the cluster; None if the calling program is connected as a client."""
    if not (address or "").startswith("ray://"):
        if ray.util.client.ray.is_connected():
            return None
        address = f"//{ray.get_runtime_context().gcs_address}"
    parts = urlsplit(str(address))
    return (parts.hostname, parts.port) if parts.hostname and parts.port else None


def _check_reachable(ray: ModuleType, address: str) -> None:
    """Check that the address is reachable, because Ray itself would try for two minutes and then end this process."""
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _unreachable(address, str(error)) from error
    if parts.scheme not in ("", "ray") or host is None or port is None:
        raise _unreachable(address, "this is not an address of a Ray cluster")
    if host in ("localhost", "127.0.0.1", "::1"):
        host = ray.util.get_node_ip_address()  # the address under which Ray registers this machine
    try:
        socket.create_connection((host, port), _PATIENCE).close()
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from error


def _unreachable(address: str, reason: str) -> ConfigError:
    return ConfigError(
        f"--ray-address: cannot join a Ray cluster at {address!r}: {reason}",
        hint="use the address that `ray start --head` printed, or auto on one of its machines (a cluster with a token "
        "requires RAY_AUTH_MODE=token here as well); or omit the option to use a temporary cluster",
    )


def _result(ray: ModuleType, done: Future[Any], *, last: bool) -> Result[Any] | None:
    """Return the result of a finished task; None if it was lost and may be tried again."""
    lost_errors = (
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
    except lost_errors as error:
        if last:
            raise RetryableError(
                f"the same task lost its Ray worker {MAX_TRIES} times: {type(error).__name__}",
                hint="this is usually caused by a lack of memory: use fewer --workers or smaller shards",
            ) from error
        return None
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise RetryableError(f"Ray cannot run a task: {error}", hint="check the cluster with: ray status") from error


def _work(folder: str, version: str, fn: Callable[[Task], Value], index: int, task: Task) -> Result[Value]:
    """Run one task in a worker, which needs the same version and the same files as the driver."""
    host = socket.gethostname()
    if version != __version__:
        raise PluginError(
            f"{host} has curate {__version__}, but the run uses {version}",
            hint="install the same version on every machine",
        )
    try:
        os.chdir(folder)
    except OSError as error:
        raise ConfigError(
            f"a Ray worker on {host} cannot enter the directory in which the run was started: {error.strerror}",
            where=folder,
            hint="share it at the same path on every machine; if all paths are URLs such as s3://…, start it in /",
        ) from error
    return run_task(fn, index, task)
