"""One world that is played once, and at each of its crash points goes on in two: one in which the operator is killed.

What comes before a crash is the same in both, so it is not played again: the process is forked there. That needs a
process of one thread, with nothing open that two could quarrel about; a world has no sockets.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

from .process import CrashPoint
from .share import is_played


class Forks:
    """``dies`` forks at points once it is armed: True in the child. At most ``limit`` children live at a time.

    ``turn`` says at which points, of which one of ``part`` has its share.
    """

    def __init__(self, limit: int, turn: int = 0, part: int = 1) -> None:
        self.point: CrashPoint | None = None
        """In a child: where it left its parent."""
        self._limit = limit
        self._turn = turn
        self._part = part
        self._points = 0
        self._moment: Callable[[], object] | None = None
        self._last: object = None
        self._tell: Connection | None = None
        self._running: dict[Connection, tuple[CrashPoint, int]] = {}
        self._told: dict[CrashPoint, Any] = {}

    def arm(self, moment: Callable[[], object]) -> None:
        """Fork from here on, where the world's moment is another than at the last fork.

        Before a step it is often the same as after the one before: what begins next would find the same.
        """
        self._moment = moment

    def dies(self, point: CrashPoint) -> bool:
        """Whether the operator is killed here: in the parent never."""
        if self._moment is None or self.point is not None or self._last == (moment := self._moment()):
            return False
        self._last = moment
        self._points += 1
        if not is_played(self._points, self._turn, part=self._part):
            return False
        while len(self._running) >= self._limit:
            self._hear()
        loop = asyncio.get_running_loop()
        ours, childs = multiprocessing.Pipe(duplex=False)
        pid = os.fork()
        if pid == 0:
            # asyncio takes no loop over into a child by itself (python/cpython#66197).
            asyncio._set_running_loop(loop)
            ours.close()
            self.point, self._tell = point, childs
            return True
        childs.close()
        self._running[ours] = point, pid
        return False

    def end(self, found: Any) -> None:
        """In a child: tell the parent, and exit; its loop, which it shares with the parent, is not closed."""
        if self._tell is not None:
            self._leave(found)

    def play(self, play: Callable[[], Any]) -> tuple[Any, dict[CrashPoint, Any]]:
        """Run what calls ``dies`` and ``end``: what it returned, and what each child told.

        Raises RuntimeError with a child's traceback where one failed.
        """
        try:
            found = play()
        except BaseException:
            if self._tell is not None:
                self._leave(RuntimeError(f"{self.point}:\n{traceback.format_exc()}"))
            raise
        while self._running:
            self._hear()
        for told in self._told.values():
            if isinstance(told, Exception):
                raise told
        return found, dict(sorted(self._told.items()))

    def _hear(self) -> None:
        for ready in wait(list(self._running)):
            assert isinstance(ready, Connection)
            point, pid = self._running.pop(ready)
            try:
                told = ready.recv()
            except EOFError:
                told = RuntimeError(f"{point}: the process ended without a word")
            ready.close()
            os.waitpid(pid, 0)
            self._told[point] = told

    def _leave(self, found: Any) -> NoReturn:
        assert self._tell is not None
        try:
            self._tell.send_bytes(pickle.dumps(found))
        finally:
            os._exit(0)
