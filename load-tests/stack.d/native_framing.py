"""ClickHouse's own framing of compressed bodies (`decompress=1`): checksum, method, sizes, block; again and again.

Each block is 16 bytes CityHash128 (version 1.0.2) over what follows, 1 byte method, 4 bytes compressed size (counted from the
method byte), 4 bytes plain size, data. Source: CompressedReadBufferBase.cpp. LZ4 and stored blocks are taken.
"""

import struct

STORED, LZ4, ZSTD = 0x02, 0x82, 0x90
HEADER_BYTES = 9
LARGEST_BLOCK_BYTES = 1 << 30


class Corrupt(Exception):
    """(ClickHouse's error code, message)"""


class Decompressor:
    """Takes bytes as they come, gives plain bytes as blocks become complete."""

    def __init__(self, lz4_block, cityhash):
        self.lz4_block, self.cityhash, self.rest = lz4_block, cityhash, b""

    def feed(self, part):
        self.rest += part
        at = 0
        while (block := self.block_at(at)) is not None:
            plain, at = block
            yield plain
        self.rest = self.rest[at:]

    def block_at(self, at):
        if len(self.rest) < at + 16 + HEADER_BYTES:
            return None
        method, size, plain_size = struct.unpack_from("<BII", self.rest, at + 16)
        if size < HEADER_BYTES or max(size, plain_size) > LARGEST_BLOCK_BYTES:
            raise Corrupt(271, f"Too large size_compressed or size_decompressed: {size}, {plain_size}")
        end = at + 16 + size
        if len(self.rest) < end:
            return None
        data = self.rest[at + 16:end]
        first, second = struct.unpack_from("<QQ", self.rest, at)
        if self.cityhash.CityHash128(data) != (first << 64) | second:
            raise Corrupt(40, "Checksum doesn't match: corrupted data.")
        if method == STORED:
            return data[HEADER_BYTES:], end
        if method != LZ4:
            raise Corrupt(89, f"Unknown compression method: {method:#x}")
        try:
            return self.lz4_block.decompress(data[HEADER_BYTES:], uncompressed_size=plain_size), end
        except (self.lz4_block.LZ4BlockError, ValueError) as error:
            raise Corrupt(271, f"Cannot decompress: {error}") from None

    def finish(self):
        if self.rest:
            raise Corrupt(33, f"Cannot read all data: {len(self.rest)} bytes of an unfinished compressed block")
