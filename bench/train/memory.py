"""How much memory a process holds that is neither file nor shared."""

import threading
import time


def rss_anon_mib(pid: int) -> float:
    """`RssAnon` of a process in MiB; 0 where it has ended or the system does not say."""
    try:
        with open(f"/proc/{pid}/status") as status:
            lines = [line for line in status if line.startswith("RssAnon:")]
    except OSError:
        return 0.0
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


class Peak:
    """Samples a process' RssAnon every few milliseconds until it is told to stop; `mib` is the largest sample."""

    def __init__(self, pid: int) -> None:
        self.mib, self._pid, self._stop = 0.0, pid, threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._stop.is_set():
            self.mib = max(self.mib, rss_anon_mib(self._pid))
            time.sleep(0.01)

    def stop(self) -> float:
        self._stop.set()
        self._thread.join()
        return self.mib
