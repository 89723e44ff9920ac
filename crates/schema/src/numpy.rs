//! What does NumPy write before the elements of an array?
//!
//! Format: the magic `\x93NUMPY`, version (2 bytes), length of the header (u16, from version 2 on u32), and a Python
//! dictionary such as `{'descr': '<f4', 'fortran_order': False, 'shape': (1000, 64), }`; then the elements. Source:
//! NumPy's `numpy.lib.format`.

use std::io::Read;

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// NumPy's own limit for headers that it trusts.
const LONGEST_HEADER: u64 = 10_000;

/// What is written about an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayHeader {
    /// NumPy's name for the type of the elements, such as `<f4`.
    pub descr: String,
    /// Whether the elements of a column follow each other, and not those of a row.
    pub fortran_order: bool,
    /// Sizes, the outermost first.
    pub shape: Vec<u64>,
    /// Bytes before the elements.
    pub length: u64,
}

/// How a number with a binary point lies in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Float {
    /// Bytes of one: 2, 4 or 8, in the forms of IEEE 754.
    pub bytes: usize,
    /// Whether the most significant byte comes first.
    pub big_endian: bool,
}

impl ArrayHeader {
    /// Reads the header of an array of `size` bytes, header included.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(array: &mut impl Read, size: u64) -> Result<Self, String> {
        let mut exactly = |length: u64| {
            let mut bytes = vec![0; length as usize];
            array.read_exact(&mut bytes).map(|()| bytes).map_err(|_| "it is cut short".to_owned())
        };
        let foreign = || "the file does not begin as NumPy files do".to_owned();
        let start = exactly(10.min(size))?;
        if start.len() < 10 || !start.starts_with(MAGIC) {
            return Err(foreign());
        }
        let first = [start[8], start[9]];
        let (length, before) = match start[6] {
            1 => (u64::from(u16::from_le_bytes(first)), 10),
            2 | 3 if size < 12 => return Err(foreign()),
            2 | 3 => {
                let rest = exactly(2)?;
                (u64::from(u32::from_le_bytes([first[0], first[1], rest[0], rest[1]])), 12)
            }
            _ => return Err("unknown version of the format".to_owned()),
        };
        if length > LONGEST_HEADER || before + length > size {
            return Err("its length is beyond the file or beyond reason".to_owned());
        }
        let text = String::from_utf8(exactly(length)?).map_err(|_| "it is not text".to_owned())?;
        parse(&text, before + length)
            .ok_or_else(|| "it is not a dictionary of descr, fortran_order and shape".to_owned())
    }

    /// The form of the elements, where these are numbers with a binary point of at most 64 bits.
    pub fn float(&self) -> Option<Float> {
        let (order, kind) = self.descr.split_at_checked(1)?;
        let bytes = match kind {
            "f2" => 2,
            "f4" => 4,
            "f8" => 8,
            _ => return None,
        };
        matches!(order, "<" | ">").then_some(Float { bytes, big_endian: order == ">" })
    }

    /// What NumPy calls the type, in words where the code of it tells nobody anything.
    pub fn type_name(&self) -> String {
        let code = self.descr.trim_start_matches(['<', '>', '|', '=']);
        match code {
            "O" => "Python objects".to_owned(),
            "V2" => "elements of two bytes without a type, as bfloat16 is saved".to_owned(),
            "b1" => "bool".to_owned(),
            "f16" | "g" => "long double".to_owned(),
            _ => match (code.split_at_checked(1), code.get(1..).and_then(|bytes| bytes.parse::<u32>().ok())) {
                (Some(("i", _)), Some(bytes)) => format!("int{}", 8 * bytes),
                (Some(("u", _)), Some(bytes)) => format!("uint{}", 8 * bytes),
                (Some(("c", _)), Some(bytes)) => format!("complex{}", 8 * bytes),
                _ => format!("dtype {}", self.descr),
            },
        }
    }

    /// The command of Python that makes numbers that are read of the array, which is `key` of an archive or all of a file.
    pub fn conversion(&self, file: &str, key: Option<&str>) -> String {
        let allow = if self.descr.ends_with('O') { ", allow_pickle=True" } else { "" };
        let of_archive = key.map_or(String::new(), |key| format!("['{key}']"));
        let array = format!("numpy.load('{file}'{allow}){of_archive}");
        let numbers = match self.descr.trim_start_matches(['<', '>', '|', '=']) {
            "V2" => format!("{array}.view(ml_dtypes.bfloat16).astype('float32')"),
            "O" => format!("numpy.array({array}.tolist(), 'float32')"),
            "of records" => format!("{array}['FIELD'].astype('float32')"),
            code if code.starts_with('c') => format!("{array}.real.astype('float32')"),
            _ => format!("{array}.astype('float32')"),
        };
        format!("numpy.save('float32.npy', {numbers})")
    }
}

/// Reads the three entries that the format allows.
fn parse(text: &str, length: u64) -> Option<ArrayHeader> {
    let value = |key: &str| {
        let after = ['\'', '"'].into_iter().find_map(|q| text.split_once(&format!("{q}{key}{q}")))?.1;
        Some(after.trim_start().strip_prefix(':')?.trim_start())
    };
    let fortran_order = match value("fortran_order")? {
        answer if answer.starts_with("False") => false,
        answer if answer.starts_with("True") => true,
        _ => return None,
    };
    let shape = value("shape")?.strip_prefix('(')?.split_once(')')?.0;
    // NumPy under Python 2 wrote some sizes as `10L`.
    let sizes = shape.split(',').map(|size| size.trim().trim_end_matches('L')).filter(|size| !size.is_empty());
    let shape = sizes.map(|s| s.parse().ok()).collect::<Option<_>>()?;
    Some(ArrayHeader { descr: descr(value("descr")?)?, fortran_order, shape, length })
}

/// The type: a quoted string, or the beginning of a structured type, which no reader here takes.
fn descr(value: &str) -> Option<String> {
    let quote = value.chars().next()?;
    match quote {
        '\'' | '"' => Some(value[1..].split_once(quote)?.0.to_owned()),
        '[' => Some("of records".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ArrayHeader, String> {
        let bytes = [&MAGIC[..], &[1, 0], &(text.len() as u16).to_le_bytes(), text.as_bytes()].concat();
        ArrayHeader::read(&mut &bytes[..], bytes.len() as u64)
    }

    #[test]
    fn headers_are_read_with_either_quote() {
        let found = read("{'descr': '>f8', 'fortran_order': True, 'shape': (3, 2), }").expect("a header");
        assert_eq!((found.fortran_order, found.shape.as_slice()), (true, &[3, 2][..]));
        assert_eq!(found.float(), Some(Float { bytes: 8, big_endian: true }));
        let found = read("{\"descr\":\"<f2\",\"fortran_order\":False,\"shape\":(3L,)}").expect("a header");
        assert_eq!((found.float(), found.shape.as_slice()), (Some(Float { bytes: 2, big_endian: false }), &[3][..]));
        for wrong in ["{}", "{'descr': '<f4', 'fortran_order': False, 'shape': (3, -2)}", "{'descr': 3}"] {
            assert!(read(wrong).expect_err("refused").contains("dictionary"), "{wrong}");
        }
    }

    #[test]
    fn types_that_are_not_read_have_a_name_and_a_remedy() {
        for (descr, name, remedy) in [
            ("'<i8'", "int64", ".astype('float32')"),
            ("'|u1'", "uint8", ".astype('float32')"),
            ("'|b1'", "bool", ".astype('float32')"),
            ("'<c8'", "complex64", ".real.astype('float32')"),
            ("'<f16'", "long double", ".astype('float32')"),
            ("'|V2'", "as bfloat16 is saved", "ml_dtypes"),
            ("'|O'", "Python objects", ".tolist()"),
            ("[('a', '<f4')]", "of records", "['FIELD']"),
        ] {
            let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (3, 2), }}");
            let header = read(&header).expect("a header");
            assert_eq!(header.float(), None, "{descr}");
            assert!(header.type_name().contains(name), "{descr}: {}", header.type_name());
            let command = header.conversion("x.npz", Some("k"));
            assert!(command.contains(remedy) && command.contains("['k']"), "{descr}: {command}");
        }
    }
}
