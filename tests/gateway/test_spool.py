"""Uploads on disk."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from aircheck.gateway.decoding import Spool, SpoolFullError, SpoolQuota
from aircheck.gateway.decoding.spool import READ_AHEAD_BYTES
from preprocessing.errors import LimitExceededError


def quota(folder: Path, max_bytes: int = 2**26, max_file_bytes: int = 2**26) -> SpoolQuota:
    return SpoolQuota(folder, max_bytes, max_file_bytes)


def test_an_upload_has_no_name_on_disk_and_its_reader_cannot_write(tmp_path):
    async def main() -> None:
        spool = Spool.create(quota(tmp_path))
        await spool.append(b"abc")
        await spool.append(b"def")
        assert list(tmp_path.iterdir()) == []
        assert os.pread(spool.readable_file, 10, 0) == b"abcdef"
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(spool.readable_file, b"x", 0)
        spool.close()

    asyncio.run(main())


def test_uploads_share_a_quota_and_give_it_back(tmp_path):
    async def main() -> None:
        shared = quota(tmp_path, max_bytes=10)
        one, other = Spool.create(shared), Spool.create(shared)
        await one.append(b"123456")
        with pytest.raises(SpoolFullError, match="try again"):
            await other.append(b"12345")
        one.close()
        one.close()
        await other.append(b"1234567890")
        other.close()
        assert shared.used_bytes == 0

    asyncio.run(main())


def test_an_upload_larger_than_the_limit_is_refused_as_such(tmp_path):
    async def main() -> None:
        spool = Spool.create(quota(tmp_path, max_file_bytes=4))
        with pytest.raises(LimitExceededError, match="4 bytes"):
            await spool.append(b"12345")
        spool.close()

    asyncio.run(main())


def test_a_full_disk_is_a_full_spool(tmp_path):
    async def main() -> None:
        spool = Spool.create(quota(tmp_path))
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, spool._file)
        os.close(full)
        with pytest.raises(SpoolFullError, match="disk"):
            await spool.append(b"1")
        spool.close()

    asyncio.run(main())


def test_a_folder_that_is_not_there_is_a_full_spool(tmp_path):
    with pytest.raises(SpoolFullError, match="No such file"):
        Spool.create(quota(tmp_path / "none"))


def test_there_is_room_for_what_the_decoder_wants_and_a_little_ahead(tmp_path):
    async def main() -> None:
        spool = Spool.create(quota(tmp_path))
        while not (waiting := asyncio.ensure_future(spool.room())).done():
            await asyncio.sleep(0)
            if not waiting.done():
                break
            await spool.append(bytes(2**20))
        assert spool.size == READ_AHEAD_BYTES
        spool.want(2**20)
        await asyncio.wait_for(waiting, 10)
        spool.close()

    asyncio.run(main())


def test_who_waits_for_bytes_is_told_of_them_and_of_the_end(tmp_path):
    async def main() -> None:
        spool = Spool.create(quota(tmp_path))
        three, ten = asyncio.ensure_future(spool.arrived(3)), asyncio.ensure_future(spool.arrived(10))
        await spool.append(b"1234")
        await asyncio.wait_for(three, 10)
        assert not ten.done()
        spool.complete()
        await asyncio.wait_for(ten, 10)
        assert spool.is_complete
        spool.close()

    asyncio.run(main())


def test_closing_while_a_write_is_under_way_closes_the_file_after_it(tmp_path):
    async def main() -> None:
        shared = quota(tmp_path)
        spool = Spool.create(shared)
        file = spool._file
        writing = asyncio.ensure_future(spool.append(bytes(2**25)))
        await asyncio.sleep(0)
        spool.close()
        await writing
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(file)
        assert shared.used_bytes == 0

    asyncio.run(main())
