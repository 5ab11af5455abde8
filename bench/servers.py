"""The four servers as processes: start, stop, and what the kernel says of them."""

import os
import pathlib
import socket
import subprocess
import time

HERE = pathlib.Path(__file__).parent
BUILT = HERE.parent / "target" / "bench"
TICKS = os.sysconf("SC_CLK_TCK")

# Name: the command, to which the address is added.
COMMANDS = {
    "metrics-service": [BUILT / "service" / "release" / "metrics-service", "--listen"],
    "Go": [BUILT / "go-service"],
    "axum": [BUILT / "axum" / "release" / "metrics-service-axum"],
    "FastAPI": [BUILT / "venv" / "bin" / "python", HERE / "fastapi" / "app.py"],
}


class Server:
    """A server on a free port of 127.0.0.1, stopped at the end of its `with`."""

    def __init__(self, name):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.name = name
        self.url = f"http://127.0.0.1:{self.port}"
        start = time.perf_counter()
        self.process = subprocess.Popen(
            [*COMMANDS[name], f"127.0.0.1:{self.port}"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._wait_for_first_answer(start + 30)
        except BaseException:
            self.process.kill()
            raise
        self.seconds_to_first_answer = time.perf_counter() - start

    def _wait_for_first_answer(self, deadline):
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
                    connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    if not connection.recv(64).startswith(b"HTTP/1.1 200 "):
                        raise RuntimeError(f"{self.name} does not answer / with a 200")
                    return
            except ConnectionRefusedError:
                if self.process.poll() is not None or time.perf_counter() > deadline:
                    raise RuntimeError(f"{self.name} does not start") from None
                time.sleep(0.0005)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def rss_kilobytes(self):
        """Its resident memory."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    def cpu_seconds(self):
        """Its processor time so far, user and system."""
        # The name in the second field may have spaces: count after it.
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
