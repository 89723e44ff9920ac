//! How is a value of a table written that JSON has no form for?
//!
//! As Python writes it, which is what a chat template's `{{ message.timestamp }}` gives over the rows that pyarrow reads:
//! `str` of a `date`, `time`, `datetime`, `Decimal` or `UUID`.

use super::nested::Cell;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::data_type::ByteArray;
use parquet::schema::types::ColumnDescriptor;

/// What the numbers or bytes of a column mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Themselves.
    Plain,
    /// Integers without a sign.
    Unsigned,
    /// Days since 1970.
    Date,
    /// So many parts of a second since midnight, each second having `per_second` of them.
    Time { per_second: i64 },
    /// The same since 1970; in universal time where `utc`.
    Moment { per_second: i64, utc: bool },
    /// An integer of 10^-scale.
    Decimal { scale: usize },
    /// Two bytes of a float.
    Half,
    /// Sixteen bytes.
    Uuid,
}

const fn per_second(unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::MILLIS => 1_000,
        TimeUnit::MICROS => 1_000_000,
        TimeUnit::NANOS => 1_000_000_000,
    }
}

impl Kind {
    /// What a column holds; its name where that is nothing that is written as text or number.
    pub(super) fn of(column: &ColumnDescriptor) -> Result<Self, String> {
        use ConvertedType as C;
        use LogicalType as L;
        let physical = column.physical_type();
        let kind = match (column.logical_type_ref(), column.converted_type()) {
            _ if physical == Physical::INT96 => Kind::Moment { per_second: 1_000_000_000, utc: false },
            (Some(L::Integer(int)), _) if !int.is_signed => Kind::Unsigned,
            (Some(L::Date), _) => Kind::Date,
            (Some(L::Time(time)), _) => Kind::Time { per_second: per_second(&time.unit) },
            (Some(L::Timestamp(moment)), _) => {
                Kind::Moment { per_second: per_second(&moment.unit), utc: moment.is_adjusted_to_u_t_c }
            }
            (Some(L::Decimal(decimal)), _) => Kind::Decimal { scale: decimal.scale.max(0) as usize },
            (Some(L::Float16), _) => Kind::Half,
            (Some(L::Uuid), _) => Kind::Uuid,
            // Unknown is what Arrow writes of columns that hold nothing but nulls.
            (Some(L::String | L::Enum | L::Json | L::Integer(_) | L::Unknown), _) => Kind::Plain,
            (Some(other), _) => return Err(format!("{other:?}").split('(').next().unwrap_or_default().to_lowercase()),
            (None, C::UINT_8 | C::UINT_16 | C::UINT_32 | C::UINT_64) => Kind::Unsigned,
            (None, C::DATE) => Kind::Date,
            (None, C::TIME_MILLIS) => Kind::Time { per_second: 1_000 },
            (None, C::TIME_MICROS) => Kind::Time { per_second: 1_000_000 },
            (None, C::TIMESTAMP_MILLIS) => Kind::Moment { per_second: 1_000, utc: true },
            (None, C::TIMESTAMP_MICROS) => Kind::Moment { per_second: 1_000_000, utc: true },
            (None, C::DECIMAL) => Kind::Decimal { scale: column.type_scale().max(0) as usize },
            (None, other @ (C::INTERVAL | C::BSON)) => return Err(other.to_string().to_lowercase()),
            (None, _) if physical == Physical::FIXED_LEN_BYTE_ARRAY => return Err("bytes of a fixed number".to_owned()),
            (None, _) => Kind::Plain,
        };
        Ok(kind)
    }

    /// A value that is stored as an integer.
    pub(super) fn integer(self, value: i64) -> Cell {
        match self {
            Kind::Unsigned => Cell::Unsigned(value as u64),
            Kind::Date => text(date(value)),
            Kind::Time { per_second } => text(time(value, per_second)),
            Kind::Moment { per_second, utc } => text(moment(value, per_second, utc)),
            Kind::Decimal { scale } => text(decimal(&value.to_be_bytes(), scale)),
            Kind::Plain | Kind::Half | Kind::Uuid => Cell::Int(value),
        }
    }

    /// A value that is stored as bytes.
    pub(super) fn bytes(self, value: ByteArray) -> Cell {
        match (self, value.data()) {
            (Kind::Decimal { scale }, bytes) => text(decimal(bytes, scale)),
            (Kind::Half, [low, high]) => Cell::Float(half::f16::from_le_bytes([*low, *high]).to_f64()),
            (Kind::Uuid, bytes) => text(uuid(bytes)),
            _ => Cell::Text(value),
        }
    }
}

fn text(text: String) -> Cell {
    Cell::Text(ByteArray::from(text.into_bytes()))
}

/// `2023-04-09`. The calendar goes on as it is in both directions (Hinnant, "chrono-compatible low-level date algorithms").
fn date(days: i64) -> String {
    let days = days + 719_468; // since the 1st of March of year 0
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) =
        (day_of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `00:02:53`, with six digits behind it where there are any, or nine where six are too few.
fn time(parts: i64, per_second: i64) -> String {
    let (seconds, rest) = (parts.div_euclid(per_second), parts.rem_euclid(per_second));
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let whole = format!("{hours:02}:{minutes:02}:{:02}", seconds % 60);
    match rest * (1_000_000_000 / per_second) {
        0 => whole,
        nanos if nanos % 1000 == 0 => format!("{whole}.{:06}", nanos / 1000),
        nanos => format!("{whole}.{nanos:09}"),
    }
}

fn moment(parts: i64, per_second: i64, utc: bool) -> String {
    let per_day = 86_400 * per_second;
    let (days, rest) = (parts.div_euclid(per_day), parts.rem_euclid(per_day));
    format!("{} {}{}", date(days), time(rest, per_second), if utc { "+00:00" } else { "" })
}

/// A two's complement of at most 16 bytes, the most significant first, with a point before its last `scale` digits.
fn decimal(bytes: &[u8], scale: usize) -> String {
    let first = if bytes.first().is_some_and(|byte| *byte > 127) { -1i128 } else { 0 };
    let value = bytes.iter().fold(first, |value, byte| value << 8 | i128::from(*byte));
    let digits = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    let (sign, point) = (if value < 0 { "-" } else { "" }, if scale > 0 { "." } else { "" });
    format!("{sign}{whole}{point}{part}")
}

fn uuid(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let dash = |(at, digit): (usize, char)| [8, 12, 16, 20].contains(&at).then_some('-').into_iter().chain([digit]);
    digits.chars().enumerate().flat_map(dash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_python() {
        assert_eq!(
            [date(0), date(-1), date(19_456), date(-719_162)],
            ["1970-01-01", "1969-12-31", "2023-04-09", "0001-01-01"]
        );
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(time(173_000, 1000), "00:02:53");
        assert_eq!(time(86_399_123_456_789, 1_000_000_000), "23:59:59.123456789");
        assert_eq!(moment(1_680_998_573_120_000, 1_000_000, true), "2023-04-09 00:02:53.120000+00:00");
        assert_eq!(moment(-1, 1000, false), "1969-12-31 23:59:59.999000");
    }

    #[test]
    fn decimals_and_names_by_hand() {
        assert_eq!(decimal(&[0, 5], 2), "0.05");
        assert_eq!(decimal(&[255, 133], 2), "-1.23");
        assert_eq!([decimal(&[12], 0), decimal(&(-1i64).to_be_bytes(), 1)], ["12", "-0.1"]);
        assert_eq!(uuid(&(0..16).collect::<Vec<u8>>()), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    }
}
