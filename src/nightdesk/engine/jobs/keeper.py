"""The keeper of one attempt: starts the user's command, waits for it, writes what became of it.

Started by the engine as ``python -I -S keeper.py ATTEMPT_FOLDER``; survives the engine, its terminal and its signals.
Reads ``spec`` from that folder, writes ``pid.json`` when the command runs and ``result.json`` when it ended. Its
standard output and error are the log of the run and so are those of the command: no byte is copied. Descriptor 3 is a
pipe on which it says once that one of the two files is there; descriptor 4 carries the lock that shows that it lives.

It passes no signal on to anybody. It ignores the signals that ask for an end: the command would go on without
anybody who notes its end, so only the desk, which knows the whole tree, ends runs. When the system shuts down, the
command gets its own SIGTERM and the keeper notes it. Only SIGKILL ends a keeper; its run is ``lost`` then.

Every import counts here: ``json`` would add 10 ms to the start of each item, ``signal`` 7, ``ctypes`` 5.
"""

import _signal  # type: ignore[import-not-found] # - the C half of signal, which needs no enum
import os
import sys
import time

READY, LOCK = 3, 4
ENDING = ("SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGUSR1", "SIGUSR2")
PIPES = ("SIGPIPE", "SIGXFSZ")
"""Python ignores these two; the command must not inherit that."""
BEGUN = 1
"""Time of the lock's file once the command may run: a change that a full disk does not refuse."""


def main(folder: str) -> None:
    """Runs one attempt, from ``spec`` to ``result.json``."""
    users_mask = os.umask(0o077)
    os.chdir(folder)
    leave_the_terminal()
    become_subreaper()
    spec = read_spec("spec")
    serial = spec[b"serial"][0].decode()
    started_ns = time.time_ns()
    command, fault = start(spec, users_mask)
    if fault is None:
        record = pid_record(serial, command, started_ns)
        noted = try_to_write("pid.json", record, sync=False)
        say_ready()
        if not noted:
            write_patiently("pid.json", record, sync=False)
    outcome = fault or wait_for(command)
    times = f'"started_ns":{started_ns},"ended_ns":{time.time_ns()}'
    write_patiently("result.json", f'{{"serial":{serial},{times},{outcome}}}\n', sync=True)
    if fault is not None:
        say_ready()


def leave_the_terminal() -> None:
    """Own session, no signal that ends it, none of the engine's open files."""
    os.setsid()
    for name in ENDING:
        _signal.signal(getattr(_signal, name), _signal.SIG_IGN)
    os.closerange(LOCK + 1, 65536 if sys.platform == "linux" else 1024)
    os.set_inheritable(READY, False)
    os.set_inheritable(LOCK, False)


def become_subreaper() -> None:
    """Linux: processes of the command that lose their parent become children of the keeper, so the tree stays whole.

    Where this can't be had they are still found by their session and their environment.
    """
    if sys.platform != "linux":
        return
    try:
        import _ctypes

        set_child_subreaper = 36
        prctl = _ctypes.dlsym(_ctypes.dlopen("", 0), "prctl")
        _ctypes.call_function(prctl, (set_child_subreaper, 1, 0, 0, 0))
    except (ImportError, AttributeError, OSError):
        return


def read_spec(path: str) -> dict[bytes, list[bytes]]:
    """The fields of the spec: ``key=value`` ended by NUL, like an environment; a key may come several times."""
    with open(path, "rb") as file:
        fields = file.read().split(b"\0")[:-1]
    spec: dict[bytes, list[bytes]] = {b"env": []}
    for field in fields:
        key, _, value = field.partition(b"=")
        spec.setdefault(key, []).append(value)
    return spec


def start(spec: dict[bytes, list[bytes]], mask: int) -> tuple[int, str | None]:
    """Number of the command's process, and what kept it from starting, as fields of the result."""
    reader, writer = os.pipe()
    os.utime(LOCK, (BEGUN, BEGUN))
    command = os.fork()
    if command == 0:
        become_command(spec, mask, writer)
    os.close(writer)
    word = os.read(reader, 64)
    os.close(reader)
    if not word:
        return command, None
    os.waitpid(command, 0)
    step, number = word.decode().split()
    return command, f'"step":"{step}","errno":{number}'


def become_command(spec: dict[bytes, list[bytes]], mask: int, writer: int) -> None:
    """In the child: own session, default signals, folder, then the command. The pipe closes when it runs."""
    step = "folder"
    try:
        os.setsid()
        for name in ENDING + PIPES:
            _signal.signal(getattr(_signal, name), _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        os.umask(mask)
        os.chdir(spec[b"folder"][0])
        step = "command"
        environment = dict(os.environb)
        for field in spec[b"env"]:
            key, _, value = field.partition(b"=")
            environment[key] = value
        execute(spec[b"arg"], environment)
    except OSError as fault:
        os.write(writer, f"{step} {fault.errno}".encode())
    finally:
        os._exit(127)


def execute(arguments: list[bytes], environment: dict[bytes, bytes]) -> None:
    """Replaces this process. Raises OSError: the last refusal, or that there is no such program on PATH."""
    program = arguments[0]
    if b"/" in program:
        os.execve(program, arguments, environment)  # noqa: S606 - without a shell on purpose
    refusal: OSError = FileNotFoundError(2, "not found")
    for folder in environment.get(b"PATH", b"/usr/local/bin:/usr/bin:/bin").split(b":"):
        try:
            os.execve((folder or b".") + b"/" + program, arguments, environment)  # noqa: S606 - as above
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as fault:
            refusal = fault
    raise refusal


def wait_for(command: int) -> str:
    """What became of the command, as fields of the result. Orphans that end meanwhile are taken away."""
    while True:
        pid, status, used = os.wait4(-1, 0)
        if pid == command:
            break
    if os.WIFSIGNALED(status):
        end = f'"signal":{os.WTERMSIG(status)}'
    else:
        end = f'"exit_status":{os.WEXITSTATUS(status)}'
    unit = 1 if sys.platform == "darwin" else 1024
    times = f'"user_ns":{round(used.ru_utime * 1e9)},"system_ns":{round(used.ru_stime * 1e9)}'
    return f'{end},{times},"max_rss_bytes":{used.ru_maxrss * unit}'


def pid_record(serial: str, command: int, started_ns: int) -> str:
    """Content of ``pid.json``; the times are the keeper's clock at the start, not the kernel's."""
    keeper = f'"keeper":{{"pid":{os.getpid()},"started_ns":{started_ns}}}'
    return f'{{"serial":{serial},{keeper},"command":{{"pid":{command},"started_ns":{started_ns}}}}}\n'


def say_ready() -> None:
    """Wakes the engine, if it is still there."""
    try:
        os.write(READY, b".")
        os.close(READY)
    except OSError:
        return


def write(path: str, body: str, *, sync: bool) -> None:
    """Writes a whole file or nothing; with ``sync`` it survives a loss of power too."""
    descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        if os.write(descriptor, body.encode()) != len(body.encode()):
            raise OSError(28, "no space left for all of it")
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(path + ".new", path)


def try_to_write(path: str, body: str, *, sync: bool) -> bool:
    """:func:`write`; False where the disk is full. A folder that was taken away needs nothing any more."""
    try:
        write(path, body, sync=sync)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def write_patiently(path: str, body: str, *, sync: bool) -> None:
    """:func:`write`, tried again for as long as the disk is full: a result is never given up."""
    while not try_to_write(path, body, sync=sync):
        time.sleep(1)


if __name__ == "__main__":
    main(sys.argv[1])
