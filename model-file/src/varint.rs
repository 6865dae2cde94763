//! A number of the wire format, taken byte by byte.

use crate::error::ReadError;

/// Most bytes of a number of 64 bits.
const BYTES_MAX: u32 = 10;

/// A number of which some bytes have come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Varint {
    value: u64,
    bytes: u32,
}

impl Varint {
    /// Nothing has come.
    pub const ZERO: Varint = Varint { value: 0, bytes: 0 };

    /// Whether nothing of it has come.
    pub fn is_fresh(self) -> bool {
        self.bytes == 0
    }

    /// Takes a byte; the number when it was the last one.
    pub fn take(&mut self, byte: u8) -> Result<Option<u64>, ReadError> {
        if self.bytes >= BYTES_MAX || (self.bytes == BYTES_MAX - 1 && byte > 1) {
            return Err(ReadError::Long);
        }
        self.value |= u64::from(byte & 0x7f) << (7 * self.bytes);
        self.bytes += 1;
        Ok((byte & 0x80 == 0).then_some(self.value))
    }
}
