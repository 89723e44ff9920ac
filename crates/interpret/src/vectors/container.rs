//! The pieces of a GGUF file: numbers, texts, values that are passed by, and tensors.

/// What a tensor's numbers are: f32 and f16 of ggml's types.
pub(super) const F32: u32 = 0;
const F16: u32 = 1;
/// Types of values.
pub(super) const UINT32: u32 = 4;
pub(super) const STRING: u32 = 8;
const ARRAY: u32 = 9;
/// A tensor of the file's table.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) n: usize,
    pub(super) kind: u32,
    pub(super) offset: usize,
}

impl Entry {
    pub(super) fn numbers(&self, data: &[u8]) -> Result<Vec<f32>, String> {
        let size = if self.kind == F32 { 4 } else { 2 };
        let end = self.n.checked_mul(size).and_then(|bytes| bytes.checked_add(self.offset));
        let bytes = end.and_then(|end| data.get(self.offset..end));
        let bytes = bytes.ok_or_else(|| format!("`{}` lies beyond the end of the file", self.name))?;
        let numbers: Vec<f32> = match self.kind {
            F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            _ => bytes.chunks_exact(2).map(|b| from_half(u16::from_le_bytes([b[0], b[1]]))).collect(),
        };
        match numbers.iter().all(|x| x.is_finite()) && !numbers.is_empty() {
            true => Ok(numbers),
            false => Err(format!("`{}` holds nothing, or something that is no number", self.name)),
        }
    }
}

/// A half as a single.
fn from_half(bits: u16) -> f32 {
    let (sign, exponent, mantissa) = (bits >> 15, i32::from((bits >> 10) & 31), f32::from(bits & 1023));
    let size = match exponent {
        0 => mantissa * 2f32.powi(-24),
        31 if mantissa == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + mantissa / 1024.0) * 2f32.powi(exponent - 15),
    };
    if sign == 1 { -size } else { size }
}

/// A place in a file's bytes.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.bytes.len());
        let taken = end.map(|end| &self.bytes[self.at..end]);
        self.at += n.min(self.bytes.len());
        taken.ok_or_else(|| "is cut short".to_owned())
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.take(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        let (low, high) = (self.u32()?, self.u32()?);
        Ok(u64::from(low) | (u64::from(high) << 32))
    }

    /// A number of things, each of which takes at least a byte.
    pub(super) fn count(&mut self) -> Result<usize, String> {
        let n = self.u64()?;
        usize::try_from(n)
            .ok()
            .filter(|n| *n <= self.bytes.len())
            .ok_or_else(|| "is cut short or damaged: it announces more than it holds".to_owned())
    }

    pub(super) fn text(&mut self) -> Result<String, String> {
        let n = self.count()?;
        String::from_utf8(self.take(n)?.to_vec()).map_err(|_| "has a name that is no text".to_owned())
    }

    /// Passes a value by.
    pub(super) fn skip(&mut self, kind: u32, depth: usize) -> Result<(), String> {
        let size = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            STRING => return self.text().map(drop),
            ARRAY if depth < 4 => {
                let (kind, n) = (self.u32()?, self.count()?);
                return (0..n).try_for_each(|_| self.skip(kind, depth + 1));
            }
            _ => return Err(format!("has a value of the unknown type {kind}")),
        };
        self.take(size).map(drop)
    }

    pub(super) fn entry(&mut self) -> Result<Entry, String> {
        let name = self.text()?;
        let dimensions = self.u32()?;
        if dimensions != 1 {
            return Err(format!("`{name}` has {dimensions} dimensions, where a direction has 1"));
        }
        let (n, kind, offset) = (self.count()?, self.u32()?, self.count()?);
        match kind {
            F32 | F16 => Ok(Entry { name, n, kind, offset }),
            _ => Err(format!("`{name}` is of ggml's type {kind}, where f32 and f16 are read")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_read() {
        for (bits, number) in
            [(0x3c00, 1.0), (0xc500, -5.0), (0x0001, 2f32.powi(-24)), (0x7bff, 65504.0), (0x8000, -0.0)]
        {
            assert_eq!(from_half(bits).to_bits(), f32::to_bits(number));
        }
    }
}
