"""Run the embedded ClickHouse server in the foreground until SIGTERM or SIGINT.

`libchdb.so` (npm package `@chdb/lib-linux-x64-gnu`) is `clickhouse-local` as a shared library. A query that
starts the listeners and then reads a pipe keeps it up; the end of that pipe ends the query, and the library
shuts down as a server does, with exit status 0. With a real `clickhouse` binary the same configuration file
is passed to `clickhouse server` instead (that way was never run here: no registry has the binary).
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

from deploy.local.guard import die_with_parent

STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}
STOP_LIMIT_S = 20.0

# What these need are the grants of the user `default` in the configuration file.
LISTEN = "SYSTEM START LISTEN {protocol}"
HOLD = "SELECT * FROM file('/dev/fd/{fd}', LineAsString, 'line String') FORMAT Null"


class LocalResult(ctypes.Structure):
    """`struct local_result_v2` of chdb.h: what `query_stable_v2` returns."""

    _fields_ = [
        ("buf", ctypes.c_void_p),
        ("len", ctypes.c_size_t),
        ("_vec", ctypes.c_void_p),
        ("elapsed", ctypes.c_double),
        ("rows_read", ctypes.c_uint64),
        ("bytes_read", ctypes.c_uint64),
        ("error_message", ctypes.c_char_p),
    ]


def port_arguments(options: argparse.Namespace) -> list[str]:
    """Where to listen, as both kinds of server read it."""
    arguments = ["--listen_host=127.0.0.1", f"--http_port={options.http_port}"]
    if options.tcp_port is not None:
        arguments.append(f"--tcp_port={options.tcp_port}")
    return arguments


def library_arguments(options: argparse.Namespace, pipe: int) -> list[str]:
    """The `clickhouse-local` command line that serves `options` until `pipe` ends."""
    protocols = ["HTTP"] if options.tcp_port is None else ["HTTP", "TCP"]
    statements = [LISTEN.format(protocol=protocol) for protocol in protocols] + [HOLD.format(fd=pipe)]
    return [
        "clickhouse-local",
        f"--config-file={options.config_file}",
        f"--path={options.path}",
        # clickhouse-local reads the level from its command line only.
        "--log-level=warning",
        *port_arguments(options),
        f"--query={'; '.join(statements)}",
    ]


def binary_arguments(options: argparse.Namespace) -> list[str]:
    """The `clickhouse server` command line that serves `options`."""
    return [
        str(options.binary),
        "server",
        f"--config-file={options.config_file}",
        "--",
        f"--path={options.path}",
        *port_arguments(options),
    ]


def close_on_signal(pipe: int, stopping: threading.Event) -> None:
    """Wait for a stop signal, then end `pipe`; leave the process if the server does not stop in time."""
    signal.sigwait(STOP_SIGNALS)
    stopping.set()
    os.close(pipe)
    time.sleep(STOP_LIMIT_S)
    os._exit(1)


def serve_from_library(options: argparse.Namespace) -> str | None:
    """Serve inside this process until a stop signal; return what went wrong, if anything did."""
    stopping = threading.Event()
    read_end, write_end = os.pipe()
    # Blocked before the library starts its threads, which inherit the mask: only the thread below receives
    # these signals.
    # A Python signal handler would not do, because none runs while the main thread is inside the library.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    threading.Thread(target=close_on_signal, args=(write_end, stopping), daemon=True).start()

    chdb = ctypes.CDLL(str(options.lib))
    chdb.query_stable_v2.argtypes = [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)]
    chdb.query_stable_v2.restype = ctypes.POINTER(LocalResult)
    encoded = [argument.encode() for argument in library_arguments(options, read_end)]
    result = chdb.query_stable_v2(len(encoded), (ctypes.c_char_p * len(encoded))(*encoded))
    if stopping.is_set():
        return None
    # A failed statement (a port in use, a data directory in use) is printed by the library and is no error in
    # its result.
    message: bytes | None = result.contents.error_message if result else None
    return (
        f"ClickHouse stopped: {message.decode(errors='replace')}"
        if message
        else "ClickHouse stopped; the reason is above"
    )


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    server = parser.add_mutually_exclusive_group(required=True)
    server.add_argument("--lib", type=Path, help="path of libchdb.so")
    server.add_argument("--binary", type=Path, help="path of a clickhouse binary")
    parser.add_argument("--path", type=Path, required=True, help="data directory")
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument(
        "--tcp-port", type=int, help="also listen for native clients; clickhouse-connect does not need it"
    )
    parser.add_argument("--config-file", type=Path, required=True)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Run the server that the command line asks for."""
    options = parse_arguments(argv)
    for name in ("lib", "binary", "path", "config_file"):
        value: Path | None = getattr(options, name)
        if value is not None:
            setattr(options, name, value.resolve())
    # clickhouse-local ignores `user_files_path`: static pages and `file()` start at its working directory.
    user_files = options.path / "user_files"
    user_files.mkdir(parents=True, exist_ok=True)
    os.chdir(user_files)
    die_with_parent()
    if options.binary is not None:
        os.execv(options.binary, binary_arguments(options))  # noqa: S606  # no shell is meant
    # A string becomes a line on stderr and exit status 1; None is status 0.
    sys.exit(serve_from_library(options))


if __name__ == "__main__":
    main()
