"""One dataset that is copied: its plan, its blocks, and the comparison with what it was copied from."""

from __future__ import annotations

import bisect
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import xarray as xr
import zarr

from appliance.data import DataError, codec_choice, new_arrays
from appliance.data.blocks import MEMORY_FACTOR, Blocks, Region, planned, region, smaller
from appliance.data.chunk_advice import MIB, Advice, advise
from appliance.data.compared import Part
from appliance.data.copy_check import CopyCheck
from appliance.data.copying import Here, Piece, Task, is_near, on_cluster, read, release
from appliance.data.described import Described
from appliance.data.file_set import Files
from appliance.data.preprocess import Preprocess
from appliance.data.progress_bar import Progressing
from appliance.data.sources import Readable
from appliance.data.stored import grid_of

if TYPE_CHECKING:
    from distributed import Client

THREADS = 4  # of this process, at most
BATCH = 256  # blocks after which an Icechunk repository keeps what is there
SAMPLE_BYTES = 4 * MIB  # of values on which ways to compress are tried


class Target(Protocol):
    """Where the dataset goes: see ``ZarrTarget``."""

    url: str
    format: str

    @property
    def store(self) -> Any: ...  # noqa: D102
    def begin(self, request: Mapping[str, Any], create: Callable[[Any, bool], None]) -> None: ...  # noqa: D102
    def written(self, name: str) -> set[tuple[int, ...]]: ...  # noqa: D102
    def handle(self, name: str) -> Any: ...  # noqa: D102
    def merge(self, handles: Sequence[Any]) -> None: ...  # noqa: D102
    def checkpoint(self) -> None: ...  # noqa: D102
    def readable(self) -> Any: ...  # noqa: D102


@dataclass
class CopyJob:
    """A dataset that is copied.

    Attributes:
        described: what the files hold.
        parts: which part of it each file is.
        files: the files.
        preprocess: what was dropped and renamed.
        group: whose variables are copied; the root's if None.
        target: where the dataset goes.
        client: of the cluster whose workers copy what is on S3; None for this process alone.
        block_bytes: of values in a block.
        advance: called with a step, how much more of it is done, and of how much.
        tell: called with what the user should know.
    """

    described: Described
    parts: Sequence[tuple[str, Part]]
    files: Files
    preprocess: Preprocess
    group: str | None
    target: Target
    client: Client | None
    block_bytes: int
    advance: Progressing
    tell: Callable[[str], None]
    blocks: dict[str, Blocks] = field(default_factory=dict)
    _advices: dict[str, Advice] = field(default_factory=dict)
    _ways: dict[Any, codec_choice.Trial] = field(default_factory=dict)
    _written: dict[str, set[tuple[int, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.old_names = {new: old for old, new in self.preprocess.rename.items()}
        self.threads = min(THREADS, os.cpu_count() or 1)

    # The plan

    def plan(self, access: str, wished: Mapping[str, int], object_bytes: int, way: str) -> None:
        """Choose chunks and compression, and say them. Raises ``DataError`` for wishes that cannot be met."""
        self._check_wishes(wished)
        variables = self.described.variables
        for name in sorted(self.described.left, key=lambda name: (-variables[name].nbytes, name)):
            self._advices[name] = advice = advise(name, variables, access, object_bytes, wished)
            self.blocks[name] = self._planned(name, advice.chunks)
            self.tell(advice.said())
            self._choose_way(advice, way)

    def _choose_way(self, advice: Advice, way: str) -> None:
        """The way that is best for the largest variable of a type is taken for all of the type."""
        dtype = self.described.variables[advice.name].dtype
        if dtype not in self._ways:
            is_open = way == codec_choice.MEASURED
            trials = codec_choice.measured(self._sample(advice), *([] if is_open else [[way]]))
            self._ways[dtype] = codec_choice.best(trials)
            if is_open:
                self.tell(codec_choice.said(advice.name, trials, self._ways[dtype]))

    def begin(self, request: Mapping[str, Any]) -> None:
        """Write the metadata where nobody sees it."""
        chunks = {name: advice.chunks for name, advice in self._advices.items()}
        ways = {name: self._ways[self.described.variables[name].dtype].way for name in chunks}
        self.target.begin(
            request, lambda store, consolidate: new_arrays.create(store, self.described, chunks, ways, consolidate)
        )

    def resume(self) -> None:
        """Take the plan from what was begun."""
        root = zarr.open_group(self.target.store, mode="r", zarr_format=3)
        for name in sorted(self.described.left):
            self.blocks[name] = self._planned(name, root[name].chunks)

    def _check_wishes(self, wished: Mapping[str, int]) -> None:
        for dim, length in wished.items():
            if dim not in self.described.sizes:
                has = ", ".join(sorted(self.described.sizes))
                raise DataError(f"{self.described.url}: has no dimension {dim!r} to cut into chunks; it has: {has}")
            if length < 1 and length != -1:
                raise DataError(f"chunks of {dim}={length} are none: name a length, or -1 for all of it")

    def _planned(self, name: str, chunks: tuple[int, ...]) -> Blocks:
        variable = self.described.variables[name]
        stored = self.files.source(self.parts[0][0]).layout.arrays.get(self.old_names.get(name, name))
        old = stored.units if stored is not None and len(stored.chunks) == variable.ndim else variable.shape
        return planned(variable.shape, chunks, old, variable.dtype.itemsize, self.block_bytes)

    def _sample(self, advice: Advice) -> Any:
        """Some values of a chunk in the middle."""
        index = tuple(count // 2 for count in grid_of(advice.shape, advice.chunks))
        whole = region(index, advice.chunks, advice.shape)
        task = self._task(advice.name, whole)
        piece = task.pieces[0]
        source = self.files.source(piece.url)

        def is_cheap(part: Region) -> bool:
            return is_near(source, task.old_name, part, self.block_bytes)

        def is_small(part: Region) -> bool:
            values = math.prod(int(axis.stop - axis.start) for axis in part)
            return values * advice.itemsize <= SAMPLE_BYTES

        near = smaller(piece.region, is_cheap, units=self.blocks[advice.name].old)
        return read(source, task, Piece(piece.url, piece.state, piece.target, smaller(near, is_small)))

    def forecast(self) -> list[str]:
        """What the copying takes, as lines of text. Raises nothing, and reads nothing."""
        if not self.blocks:
            return []
        nbytes = {name: math.prod(blocks.shape) * blocks.itemsize for name, blocks in self.blocks.items()}
        total = max(1, sum(nbytes.values()))
        reads = sum(nbytes[name] * blocks.reads for name, blocks in self.blocks.items()) / total
        count = sum(blocks.count for blocks in self.blocks.values())
        memory = MEMORY_FACTOR * max(blocks.nbytes for blocks in self.blocks.values()) / MIB
        lines = [
            f"{total / MIB:,.1f} MiB of values in {count:,} blocks; each value is read {reads:.3g} times; up to "
            f"{memory:,.0f} MiB of memory for each thread of this process, or of each worker"
        ]
        if self._advices:
            kinds = {name: self.described.variables[name].dtype for name in nbytes}
            disk = sum(nbytes[name] / self._ways[kind].ratio for name, kind in kinds.items()) / MIB
            objects = sum(advice.objects for advice in self._advices.values())
            lines.append(
                f"about {disk:,.1f} MiB in up to {objects:,} objects will be written, beside what is there: "
                "`appliance quota` says what you have left"
            )
            detour = sum(nbytes[name] * self._detour(advice) for name, advice in self._advices.items()) / total
            if detour < reads / 2:
                lines.append(
                    f"old and new chunks lie across each other: by way of another dataset, made with --for both, each "
                    f"value would be read {detour:.3g} times in all; a larger --block helps too"
                )
        return lines

    def _detour(self, advice: Advice) -> float:
        """How often a value is read when a dataset for both accesses is made first, and this one of that."""
        blocks = self.blocks[advice.name]
        between = advise(advice.name, self.described.variables, "both", advice.object_bytes).chunks
        first = planned(blocks.shape, between, blocks.old, blocks.itemsize, self.block_bytes)
        then = planned(blocks.shape, blocks.chunks, between, blocks.itemsize, self.block_bytes)
        return first.reads + then.reads

    # The copying

    def copy(self) -> None:
        """Copy all that is not there yet."""
        new_arrays.write_small(self.target.store, self.described)
        tasks = list(self._tasks())
        total = len(tasks)
        waiting = [task for task in tasks if not self._is_written(task)]
        self._written.clear()
        self.advance("copy", total - len(waiting), total)
        here = Here(self.files.source, self.threads)

        def done(_task: Task) -> None:
            self.advance("copy", 1, total)

        try:
            for start in range(0, len(waiting), BATCH):
                batch = waiting[start : start + BATCH]
                try:
                    if self.client is None:
                        here.run(batch, self.target.store, done)
                        continue
                    here.run([task for task in batch if task.is_local], self.target.store, done)
                    self.target.checkpoint()  # a session with changes is not sent to workers
                    far = [task for task in batch if not task.is_local]
                    for name in sorted({task.name for task in far}):
                        mine = [task for task in far if task.name == name]
                        on_cluster(self.client, mine, self.target.handle(name), done, self.target.merge)
                        self.target.checkpoint()
                finally:
                    self.target.checkpoint()
        finally:
            if self.client is not None:
                self.client.run(release, on_error="ignore")

    def _is_written(self, task: Task) -> bool:
        if task.name not in self._written:
            self._written[task.name] = self.target.written(task.name)
        there = self._written[task.name]
        return bool(there) and all(index in there for index in self.blocks[task.name].chunks_of(task.region))

    def _tasks(self) -> Iterator[Task]:
        for name, blocks in self.blocks.items():
            for part in blocks.regions():
                yield self._task(name, part)

    def _task(self, name: str, part: Region) -> Task:
        pieces, dim = tuple(self._pieces(name, part)), self.parts[0][1].dim
        return Task(name, self.old_names.get(name, name), self.group, part, pieces, dim)

    def _pieces(self, name: str, part: Region) -> Iterator[Piece]:
        """The files in which a part of a variable lies."""
        variable = self.described.variables[name]
        states, dim = self.files.states, self.parts[0][1].dim
        whole = tuple(slice(0, axis.stop - axis.start) for axis in part)
        if dim not in variable.dims:
            yield Piece(self.described.url, states[self.described.url], whole, part)
            return
        axis = variable.dims.index(dim)
        starts = [each.start for _, each in self.parts]
        for url, each in self.parts[bisect.bisect_right(starts, part[axis].start) - 1 :]:
            first, end = max(part[axis].start, each.start), min(part[axis].stop, each.start + each.length)
            if first >= end:
                return
            target, inside = list(whole), list(part)
            target[axis] = slice(first - part[axis].start, end - part[axis].start)
            inside[axis] = slice(first - each.start, end - each.start)
            yield Piece(url, states[url], tuple(target), tuple(inside))

    # The comparison

    def compare(self, everything: bool) -> None:
        """Compare what readers will see with the files. Raises ``DataError`` with file, variable and difference."""
        made, times = self._opened()
        if not times:
            self.tell("xarray cannot decode the times, neither here nor in the files: open it with decode_times=False")
        check = CopyCheck(
            made,
            self.described,
            self.preprocess,
            everything,
            times,
            blocks=self.blocks,
            old_names=self.old_names,
        )
        for number, (url, part) in enumerate(self.parts):
            source = self.files.source(url)
            try:
                check.file(source, part, number == 0, lambda: None)
            except DataError as error:
                source.copy.check_unchanged()  # then that is why
                if isinstance(error.__cause__, OSError):  # S3 refuses, or does not answer: no value differs
                    raise error.__cause__ from None
                raise
            self.advance("compare", 1, len(self.parts))
        for name, note in check.notes.items():
            self.tell(f"{name}: {note}")
        count, files = len(self.described.variables), len(self.parts)
        self.tell(f"compared {check.values:,} values of {count} variables with {files} files")

    def _opened(self) -> tuple[xr.Dataset, bool]:
        """What was written, as a researcher opens it, and whether with its times decoded: as the file can be too."""
        store, source = self.target.readable(), self.files.source(self.parts[0][0])
        options: dict[str, Any] = {"chunks": None, "zarr_format": 3, "consolidated": self.target.format == "zarr"}
        try:
            return xr.open_zarr(store, **options), True
        except Exception as error:
            if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
                raise  # S3 refuses, or does not answer
            if _opens(source, self.preprocess, decode_times=True):
                raise DataError(f"{source.url}: its copy cannot be opened: {error}; nothing was published") from error
            return xr.open_zarr(store, **options, decode_times=False), False


def _opens(source: Readable, preprocess: Preprocess, decode_times: bool) -> bool:
    try:
        with source.opened(drop_variables=list(preprocess.drop), decode_times=decode_times):
            return True
    except DataError:
        return False
