//! The logged steps as TensorBoard reads them: an event file, whose bytes follow from `metrics.jsonl` alone.
//!
//! ```text
//! file    = record*                      record = length u64, crc(length) u32, event, crc(event) u32, little-endian
//! crc(x)  = rotate_right(crc32c(x), 15) + 0xa282ead8
//! event   = wall_time 1: double, step 2: int64, file_version 3: string, summary 5: { value 1: { tag 1, simple_value 2 } }
//! ```
//!
//! (`tensorflow/core/lib/io/record_writer.cc` and `core/util/event.proto`.) An event has a handful of fields of three wire
//! types, for which a library of protocol buffers would be the larger part.

use crate::record::Record;

/// What the first event says of the format.
const VERSION: &[u8] = b"brain.Event:2";
/// Added to a rotated checksum, so that a checksum of data that holds checksums is none of its own.
const MASK: u32 = 0xa282_ead8;
/// CRC-32C (Castagnoli), reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;
const TABLE: [u32; 256] = table();

/// Wire types of protocol buffers.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

const fn table() -> [u32; 256] {
    let (mut table, mut byte) = ([0u32; 256], 0);
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| crc >> 8 ^ TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize])
}

fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c(bytes).rotate_right(15).wrapping_add(MASK).to_le_bytes()
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn key(out: &mut Vec<u8>, field: u64, wire: u64) {
    varint(out, field << 3 | wire);
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    key(out, field, BYTES);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn event(time: f64, step: u64) -> Vec<u8> {
    let mut event = Vec::new();
    key(&mut event, 1, FIXED64);
    event.extend_from_slice(&time.to_le_bytes());
    key(&mut event, 2, VARINT);
    varint(&mut event, step);
    event
}

fn framed(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), event, &masked(event)].concat()
}

/// What a file begins with whose first logged step is `first`.
pub(crate) fn beginning(first: &Record) -> Vec<u8> {
    let mut version = event(first.time, 0);
    bytes(&mut version, 3, VERSION);
    framed(&version)
}

/// The scalars of a logged step.
pub(crate) fn scalars(record: &Record) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in record.figures() {
        let mut one = Vec::new();
        bytes(&mut one, 1, tag.as_bytes());
        key(&mut one, 2, FIXED32);
        one.extend_from_slice(&(value as f32).to_le_bytes());
        bytes(&mut summary, 1, &one);
    }
    let mut step = event(record.time, record.step);
    bytes(&mut step, 5, &summary);
    framed(&step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standards() {
        // The check values of CRC-32C in its catalogue, and of RFC 3720, B.4.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn the_beginning_is_what_tensorflow_writes() {
        let first = Record { time: 1.5, ..Record::default() };
        let bytes = beginning(&first);
        // 9 bytes of time, 2 of step 0, 2 and 13 of the version.
        assert_eq!(bytes.len(), 8 + 4 + 26 + 4);
        assert_eq!(bytes[..8], 26u64.to_le_bytes());
        assert_eq!(bytes[12..25], [9, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0x10, 0, 0x1a, 13]);
        assert_eq!(bytes[25..38], *VERSION);
    }

    #[test]
    fn numbers_are_cut_into_sevens_of_bits() {
        let mut out = Vec::new();
        varint(&mut out, 300);
        assert_eq!(out, [0xac, 0x02]);
    }
}
